"use strict";
(async () => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse(find("#data").textContent);

  /** An element with text in it; nothing of the data is ever read as HTML. */
  function element(name, text = "", className = "") {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // ------------------------------------------------------------------------------------------------------------ tabs
  const tabs = all("nav button");
  function show(name) {
    for (const tab of tabs) {
      const chosen = tab.dataset.section === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      find("#" + tab.dataset.section).hidden = !chosen;
    }
  }
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab.dataset.section));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      show(next.dataset.section);
      next.focus();
    });
  }
  find("nav").hidden = false;
  show("graph");
  for (const input of all(".filter")) {
    const rows = all("tbody tr", find("#" + input.dataset.table));
    input.hidden = false;
    input.addEventListener("input", () => {
      const sought = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = sought !== "" && !row.dataset.text.includes(sought);
    });
  }

  // ------------------------------------------------------------------------------------------------- zooming and panning
  const stage = find(".stage"), aside = find("aside"), select = find(".bar select"), status = find(".status");
  const READABLE = 1.6, UNREADABLE = 6;  // units of the drawing per pixel
  let svg = null, whole = null, view = null, graph = null;

  function look() {
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  }
  /** Units of the drawing per pixel of the screen. */
  function unit() {
    const box = stage.getBoundingClientRect();
    return Math.max(view.width / Math.max(box.width, 1), view.height / Math.max(box.height, 1));
  }
  function place(clientX, clientY) {
    const box = stage.getBoundingClientRect(), scale = unit();
    return { x: view.x + view.width / 2 + (clientX - box.left - box.width / 2) * scale,
             y: view.y + view.height / 2 + (clientY - box.top - box.height / 2) * scale };
  }
  function zoom(factor, at) {
    const least = 60, most = 4 * Math.max(whole.width, whole.height);
    const wanted = Math.min(Math.max(view.width * factor, least), most), by = wanted / view.width;
    const middle = at || { x: view.x + view.width / 2, y: view.y + view.height / 2 };
    view = { x: middle.x - (middle.x - view.x) * by, y: middle.y - (middle.y - view.y) * by,
             width: view.width * by, height: view.height * by };
    look();
  }
  /** All of the drawing, no larger than it reads well. */
  function fit() {
    const box = stage.getBoundingClientRect(), margin = 16, above = 60, below = 44;
    const scale = Math.max((whole.width + 2 * margin) / Math.max(box.width, 1),
                           whole.height / Math.max(box.height - above - below, 1), 1 / 1.35);
    const width = box.width * scale, height = box.height * scale;
    view = { x: whole.x + whole.width / 2 - width / 2, width, height,
             y: whole.y + whole.height / 2 - height / 2 - (above - below) / 2 * scale };
    look();
  }
  /** At the size of text, around the same middle; or around a part of the drawing. */
  function read(part = null) {
    const box = stage.getBoundingClientRect(), scale = 0.9;
    let x = view.x + view.width / 2, y = view.y + view.height / 2;
    if (part) {
      const around = part.getBoundingClientRect();
      ({ x, y } = place(around.left + around.width / 2, around.top + Math.min(around.height, box.height) / 2));
    }
    view = { x: x - box.width * scale / 2, y: y - box.height * scale / 2, width: box.width * scale, height: box.height * scale };
    look();
  }
  /** All of it; its upper part if it is high; a drawing of which nothing could be recognised from its hottest part. */
  function begin() {
    fit();
    if (unit() <= READABLE) return;
    const box = stage.getBoundingClientRect(), margin = 16, above = 60;
    const scale = Math.max((whole.width + 2 * margin) / Math.max(box.width, 1), 1);
    if (scale <= READABLE) {
      const width = box.width * scale;
      view = { x: whole.x + whole.width / 2 - width / 2, y: whole.y - above * scale, width, height: box.height * scale };
      return look();
    }
    if (unit() <= UNREADABLE) return;
    for (let heat = 9; heat >= 0; heat--) {
      const part = find(`.heat${heat}`, svg) || (heat === 0 && find("g.node", svg));
      if (part) return read(part);
    }
  }
  stage.addEventListener("wheel", (event) => {
    if (!svg) return;
    event.preventDefault();
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.0035), place(event.clientX, event.clientY));
  }, { passive: false });
  const touching = new Map();
  let moved = 0;
  stage.addEventListener("pointerdown", (event) => {
    if (!svg || (event.pointerType === "mouse" && event.button !== 0)) return;
    if (touching.size === 0) moved = 0;
    touching.set(event.pointerId, event);
  });
  stage.addEventListener("pointermove", (event) => {
    const last = touching.get(event.pointerId);
    if (!last) return;
    const others = [...touching.values()].filter((other) => other.pointerId !== event.pointerId);
    if (others.length === 1) {
      const apart = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      zoom(apart(last) / Math.max(apart(event), 1),
           place((event.clientX + others[0].clientX) / 2, (event.clientY + others[0].clientY) / 2));
    }
    const scale = unit() / touching.size;
    view.x -= (event.clientX - last.clientX) * scale;
    view.y -= (event.clientY - last.clientY) * scale;
    moved += Math.abs(event.clientX - last.clientX) + Math.abs(event.clientY - last.clientY);
    if (moved > 4 && !stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
    stage.classList.toggle("moving", moved > 4);
    touching.set(event.pointerId, event);
    look();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => {
      touching.delete(event.pointerId);
      if (touching.size === 0) stage.classList.remove("moving");
    });
  }
  const doing = { in: () => zoom(0.75), out: () => zoom(1 / 0.75), fit, read: () => read() };
  for (const button of all(".bar button")) button.addEventListener("click", () => svg && doing[button.dataset.action]());
  stage.addEventListener("keydown", (event) => {
    const action = { "+": "in", "=": "in", "-": "out", "0": "fit", "1": "read" }[event.key];
    if (action && svg) doing[action]();
  });
  new ResizeObserver(() => {
    if (!svg || !view) return;
    // The same scale and middle in the new extents.
    const box = stage.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const scale = unit(), x = view.x + view.width / 2, y = view.y + view.height / 2;
    view = { x: x - box.width * scale / 2, y: y - box.height * scale / 2, width: box.width * scale, height: box.height * scale };
    look();
  }).observe(stage);

  // ------------------------------------------------------------------------------------------------------- what is chosen
  function heading(text) { aside.append(element("h4", text)); }
  function block(text, wrap = false) { aside.append(element("pre", text, wrap ? "wrap" : "")); }
  function opening(text, target) {
    const button = element("button", text);
    button.addEventListener("click", () => open(target));
    aside.append(button);
  }
  function describeNest(number, withTitle) {
    const nest = data.nests[number];
    if (withTitle) aside.append(element("h3", nest.title));
    else heading("Its loops: " + nest.title);
    aside.append(element("p", nest.time, "muted"));
    if (withTitle && nest.computes) {
      heading("Computes");
      aside.append(element("p", nest.computes, "mono"));
    }
    if (withTitle) {
      const list = element("ul");
      for (const [what, amount] of nest.costs) {
        const item = element("li", "", "");
        item.append(element("span", what + "  ", "muted"), document.createTextNode(amount));
        list.append(item);
      }
      heading("Costs");
      aside.append(list);
      if (nest.graph && nest.graph !== graph.id) opening("Show its equations", nest.graph);
      heading("Loops");
    }
    block(nest.loops);
  }
  function describe(found) {
    aside.append(element("h3", found.title));
    if (found.equation) block(found.equation, true);
    if (found.about) aside.append(element("p", found.about, "muted"));
    for (const [text, target] of found.inner || []) opening(text, target);
    if (found.source) {
      heading("Source");
      if (found.code) block(found.code, true);
      aside.append(element("p", found.source, "muted"));
    }
    if (found.decisions && found.decisions.length) {
      heading(found.decisions.length > 1 ? "Decisions" : "Decision");
      const list = element("ul");
      for (const [name, decision, position, reason, special] of found.decisions) {
        const item = element("li");
        if (name) item.append(element("code", name + " "));
        item.append(element("span", decision, special ? "tag special" : "tag"));
        if (position) item.append(element("code", position + " "));
        item.append(document.createTextNode(reason));
        list.append(item);
      }
      aside.append(list);
    }
    for (const nest of found.nests || []) describeNest(nest, false);
  }
  function choose(key) {
    for (const part of all(".chosen, .near", svg)) part.classList.remove("chosen", "near");
    aside.replaceChildren();
    const found = (data.details[graph.program] || {})[key];
    if (key && key[0] === "n") describeNest(Number(key.slice(1)), true);
    else if (key && key[0] === "a") describeNest(Number(key.slice(1)), true);
    else if (found) describe(found);
    else {
      aside.append(element("h3", graph.title));
      aside.append(element("p", "Choose a node or a box to see its equation, your line, what was decided on it, and its loops. "
        + "The wheel zooms, dragging moves.", "muted"));
      return;
    }
    const part = svg.getElementById(key);
    if (part) part.classList.add("chosen");
    for (const edge of all("g.edge", svg)) {
      const ends = edge.dataset.ends.split(" ");
      if (ends.includes(key)) edge.classList.add("near");
    }
    aside.scrollTop = 0;
  }

  // ------------------------------------------------------------------------------------------------------------- drawing
  // Graphviz works beside the page, so that a graph on which it takes long can be given up.
  const PATIENCE = { usual: 12000, bounded: 60000 };
  const BOUNDS = { splines: "line", nslimit: 0.1, nslimit1: 0.1, mclimit: 0.1 };
  let source = null, worker = null, last = 0;
  const answers = new Map();
  async function graphviz() {
    if (source === null) {
      const packed = Uint8Array.from(atob(find("#graphviz").textContent.trim()), (c) => c.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      source = await new Response(stream).text();
    }
    return source;
  }
  const WORK = `
    const library = self.Viz.instance();
    onmessage = async ({ data: [number, dot, options] }) => {
      try { postMessage([number, (await library).renderString(dot, options), null]); }
      catch (error) { postMessage([number, null, String(error)]); }
    };`;
  function hire(text) {
    const address = URL.createObjectURL(new Blob([text, WORK], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.onmessage = ({ data: [number, drawn, error] }) => {
      const answer = answers.get(number);
      answers.delete(number);
      if (answer) error === null ? answer.done(drawn) : answer.fail(new Error(error));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      for (const answer of answers.values()) answer.fail(new Error(event.message || "no worker could be started"));
      answers.clear();
      worker = null;
    };
  }
  function dismiss() {
    worker.terminate();
    worker = null;
    answers.clear();
  }
  /** The drawing as SVG, or null if it took longer than ``patience`` milliseconds. */
  function drawn(dot, options, patience) {
    const number = ++last;
    return new Promise((done, fail) => {
      answers.set(number, { done, fail });
      worker.postMessage([number, dot, options]);
      setTimeout(() => {
        if (!answers.has(number)) return;
        dismiss();
        done(null);
      }, patience);
    });
  }
  async function drawing(dot, slow) {
    const text = await graphviz(), options = { format: "svg" };
    const begun = worker !== null && answers.size > 0;
    if (begun) dismiss();
    for (const bounded of slow ? [true] : [false, true]) {
      if (worker === null) hire(text);
      const given = bounded ? { ...options, graphAttributes: BOUNDS } : options;
      const found = await drawn(dot, given, bounded ? PATIENCE.bounded : PATIENCE.usual);
      if (found !== null) return new DOMParser().parseFromString(found, "image/svg+xml").documentElement;
      status.textContent = "This takes long. Trying a simpler way.";
    }
    throw new Error("laying out the graph took too long");
  }
  function fail(error) {
    status.hidden = true;
    // With scripts the browser keeps what stands there for those without as a text.
    const plain = new DOMParser().parseFromString(find("noscript").textContent, "text/html").body.textContent;
    const text = element("pre", plain, "code failure");
    find(".canvas").append(text);
    aside.replaceChildren(element("h3", "The graph could not be drawn"), element("p", String(error), "muted"),
                          element("p", "The same facts stand beside this as text.", "muted"));
    document.documentElement.dataset.state = "failed";
  }
  async function open(id) {
    graph = data.graphs.find((one) => one.id === id);
    select.value = id;
    show("graph");
    status.textContent = graph.slow ? "Laying out a large graph. This may take some seconds." : "Drawing";
    status.hidden = false;
    stage.replaceChildren();
    svg = null;
    for (const text of all(".failure")) text.remove();
    document.documentElement.dataset.state = "drawing";
    const wanted = graph;
    try {
      const found = await drawing(graph.dot, graph.slow);
      if (graph !== wanted) return;
      svg = document.importNode(found, true);
      const [x, y, width, height] = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number);
      whole = { x, y, width, height };
      svg.removeAttribute("width");
      svg.removeAttribute("height");
      svg.setAttribute("role", "group");
      svg.setAttribute("aria-label", graph.title);
      const details = data.details[graph.program] || {};
      for (const part of all("g.edge", svg)) {
        part.dataset.ends = find("title", part).textContent.split("->").join(" ");
        find("title", part).remove();
      }
      for (const part of all("g.node, g.cluster", svg)) {
        const title = find("title", part), known = details[part.id];
        if (known) title.textContent = known.equation || known.title; else title.remove();
        part.setAttribute("tabindex", "0");
        part.setAttribute("role", "button");
      }
      for (const title of all(":scope > g > title", svg)) title.remove();
      // The labels of boxes lie above the edges that cross them.
      const labels = document.createElementNS("http://www.w3.org/2000/svg", "g");
      labels.setAttribute("class", "labels");
      for (const cluster of all("g.cluster", svg)) {
        const heat = [...cluster.classList].find((name) => name.startsWith("heat"));
        for (const text of all("text", cluster)) {
          if (heat) text.classList.add(heat);
          labels.append(text);
        }
      }
      find(":scope > g", svg).append(labels);
      stage.replaceChildren(svg);
      begin();
      status.hidden = true;
      choose(null);
      document.documentElement.dataset.state = "drawn";
    } catch (error) {
      if (graph === wanted) fail(error);
    }
  }
  stage.addEventListener("click", (event) => {
    if (!svg || moved > 4) return;
    const part = event.target.closest("g.node, g.cluster");
    choose(part && stage.contains(part) ? part.id : null);
  });
  stage.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    const part = event.target.closest("g.node, g.cluster");
    if (part) {
      event.preventDefault();
      choose(part.id);
    }
  });
  for (const one of data.graphs) {
    const option = element("option", one.title);
    option.value = one.id;
    select.append(option);
  }
  select.addEventListener("change", () => open(select.value));
  await open(data.graphs[0].id);
})();
