"""The native side of the thread pool, as LLVM text.

How a job is handed out. ``busy`` makes one caller the owner. The owner describes the job and publishes it in ``gate``,
one 64-bit word: a generation (upper half), an open bit, and the number of workers inside (lower 31 bits). A worker
enters by a compare-and-swap of that word, hence only a job that is still open, and reads the job's description only
once inside. When no chunk is left the owner clears the open bit and waits
until nobody is inside; then nothing can refer to the job any more and ``busy`` is released. A worker that comes late
finds the gate closed. Sleepers wait on a condition variable: who is about to sleep raises ``sleepers`` before it looks
at the gate a last time, and the owner looks at ``sleepers`` after it has opened the gate, so one of the two sees the
other.

How chunks are shared. They are cut into as many ranges as threads may take part, one after the other in the order of the
chunks. A thread takes those of its own range, the first one first, and then from the ends of the ranges of others. So what
one loop leaves in the cache of a core the next one finds there: where they take turns, chunk by chunk, a stencil within a
loop over time ran four times as long on two cores as on one. The last chunk of who is at work is left to him, for the same
reason. A range is one word, first chunk (lower half) and end, on a cache line of its own, changed by compare-and-swap.

Steering. Where there are few CPUs, Linux tends to queue a woken thread behind the one that woke it, for milliseconds,
though another CPU is idle. So before the owner opens the gate it forbids the workers the CPU it runs on itself, when that is
not the one they were forbidden last.
"""

from __future__ import annotations

# Looks at the gate before sleeping. Each yields the CPU, so that spinning costs others little; together they take some
# hundreds of microseconds. Waking a sleeper costs tens, on virtual machines up to a hundred, and a loop that runs in order
# opens the gate again and again.
_SPINS = 1000

# Steering costs a system call per worker, and beyond a few CPUs Linux finds an idle one by itself.
STEERED_CPUS_AT_MOST = 8
# Ranges of chunks; more threads than these share some.
_RANGES = 64
# Of the C library's cpu_set_t.
HIGHEST_STEERED_CPU = 1023

LIBC_SYMBOLS = (
    "pthread_mutex_init",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_cond_init",
    "pthread_cond_wait",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
    "sched_yield",
)
STEERING_SYMBOLS = ("gettid", "sched_getcpu", "sched_setaffinity")
EXPORTS = ("gx.parallel", "gx.worker", "gx.limit", "gx.started", "gx.reset", "gx.stop")
STEERING_EXPORTS = ("gx.allow",)

# Room for the C library's mutex and condition variable (64 bytes at most where we run), each on cache lines of its own.
_POOL = f"""
@busy = internal global i32 0, align 128
@gate = internal global i64 0, align 128
@ranges = internal global [{_RANGES} x [16 x i64]] zeroinitializer, align 128
@function = internal global ptr null, align 128
@context = internal global ptr null, align 8
@chunks = internal global i64 0, align 8
@shares = internal global i64 1, align 8
@admitted = internal global i64 0, align 8
@limit = internal global i64 1, align 128
@started = internal global i64 0, align 8
@stopping = internal global i32 0, align 8
@sleepers = internal global i64 0, align 128
@owner_sleeps = internal global i32 0, align 8
@mutex = internal global [32 x i64] zeroinitializer, align 128
@wake = internal global [32 x i64] zeroinitializer, align 128
@finished = internal global [32 x i64] zeroinitializer, align 128

declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
declare i64 @gx.grow(i64, i64)

; Until there are none left: the first chunk of range %share, which begins at %begin, or, where %ends, the last.
define internal void @run_range(ptr %function, ptr %context, i64 %share, i64 %begin, i1 %ends) {{
entry:
  %place = getelementptr [16 x i64], ptr @ranges, i64 %share
  br label %look
look:
  %range = load atomic i64, ptr %place monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %range, %look ], [ %changed, %again ]
  %first = and i64 %seen, 4294967295
  %end = lshr i64 %seen, 32
  %begun = icmp ne i64 %first, %begin
  %leave_one = and i1 %begun, %ends
  %left_over = zext i1 %leave_one to i64
  %beyond = add i64 %first, %left_over
  %left = icmp ult i64 %beyond, %end
  br i1 %left, label %take, label %done
take:
  %step = select i1 %ends, i64 -4294967296, i64 1
  %rest = add i64 %seen, %step
  %exchange = cmpxchg ptr %place, i64 %seen, i64 %rest monotonic monotonic
  %taken = extractvalue {{ i64, i1 }} %exchange, 1
  br i1 %taken, label %run, label %again
again:
  %changed = extractvalue {{ i64, i1 }} %exchange, 0
  br label %try
run:
  %last = sub i64 %end, 1
  %chunk = select i1 %ends, i64 %last, i64 %first
  call void %function(ptr %context, i64 %chunk)
  br label %look
done:
  ret void
}}

define internal void @run_remaining(ptr %function, ptr %context, i64 %chunks, i64 %share) {{
entry:
  call void @run_range(ptr %function, ptr %context, i64 %share, i64 0, i1 false)
  %shares = load i64, ptr @shares, align 8
  br label %next
next:
  %further = phi i64 [ 1, %entry ], [ %further_next, %other ]
  %more = icmp slt i64 %further, %shares
  br i1 %more, label %other, label %done
other:
  %sum = add i64 %share, %further
  %whose = urem i64 %sum, %shares
  %before = mul i64 %whose, %chunks
  %begin = sdiv i64 %before, %shares
  call void @run_range(ptr %function, ptr %context, i64 %whose, i64 %begin, i1 true)
  %further_next = add i64 %further, 1
  br label %next
done:
  ret void
}}

define void @gx.parallel(ptr %function, ptr %context, i64 %chunks) {{
entry:
  %limit = load atomic i64, ptr @limit monotonic, align 8
  %several_threads = icmp sgt i64 %limit, 1
  %several_chunks = icmp sgt i64 %chunks, 1
  %worth = and i1 %several_threads, %several_chunks
  br i1 %worth, label %try, label %serial_start

try:
  %exchange = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %ours = extractvalue {{ i32, i1 }} %exchange, 1
  br i1 %ours, label %own, label %serial_start

own:
  %helpers = sub i64 %limit, 1
  %running = load i64, ptr @started, align 8
  %few = icmp slt i64 %running, %helpers
  br i1 %few, label %grow, label %publish

grow:
  %grown = call i64 @gx.grow(i64 %running, i64 %helpers)
  store i64 %grown, ptr @started, align 8
  br label %publish

publish:
  %other_chunks = sub i64 %chunks, 1
  %admitted = call i64 @llvm.smin.i64(i64 %helpers, i64 %other_chunks)
  store ptr %function, ptr @function, align 8
  store ptr %context, ptr @context, align 8
  store i64 %chunks, ptr @chunks, align 8
  store atomic i64 %admitted, ptr @admitted monotonic, align 8
  %takers = add i64 %admitted, 1
  %shares = call i64 @llvm.smin.i64(i64 %takers, i64 {_RANGES})
  store i64 %shares, ptr @shares, align 8
  br label %deal
deal:
  %share = phi i64 [ 0, %publish ], [ %share_next, %deal ]
  %first = phi i64 [ 0, %publish ], [ %end, %deal ]
  %share_next = add i64 %share, 1
  %up_to = mul i64 %share_next, %chunks
  %end = sdiv i64 %up_to, %shares
  %end_high = shl i64 %end, 32
  %range = or i64 %end_high, %first
  %place = getelementptr [16 x i64], ptr @ranges, i64 %share
  store atomic i64 %range, ptr %place monotonic, align 8
  %more_shares = icmp slt i64 %share_next, %shares
  br i1 %more_shares, label %deal, label %open
open:
  call void @steer()
  %old_gate = load atomic i64, ptr @gate monotonic, align 8
  %old_generation = lshr i64 %old_gate, 32
  %generation = add i64 %old_generation, 1
  %shifted = shl i64 %generation, 32
  %new_gate = or i64 %shifted, 2147483648
  store atomic i64 %new_gate, ptr @gate seq_cst, align 8
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 8
  %any_asleep = icmp sgt i64 %asleep, 0
  br i1 %any_asleep, label %wake, label %work

wake:
  %to_wake = call i64 @llvm.smin.i64(i64 %asleep, i64 %admitted)
  %w0 = call i32 @pthread_mutex_lock(ptr @mutex)
  br label %wake_one
wake_one:
  %woken = phi i64 [ 0, %wake ], [ %woken_next, %wake_one ]
  %w1 = call i32 @pthread_cond_signal(ptr @wake)
  %woken_next = add i64 %woken, 1
  %more_to_wake = icmp slt i64 %woken_next, %to_wake
  br i1 %more_to_wake, label %wake_one, label %woken_all
woken_all:
  %w2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %work

work:
  call void @run_remaining(ptr %function, ptr %context, i64 %chunks, i64 0)
  %closed = atomicrmw and ptr @gate, i64 -2147483649 seq_cst
  %inside = and i64 %closed, 2147483647
  %alone = icmp eq i64 %inside, 0
  br i1 %alone, label %finish, label %spin

spin:
  %spins = phi i64 [ 0, %work ], [ %spins_next, %spin_on ]
  %spin_gate = load atomic i64, ptr @gate acquire, align 8
  %spin_inside = and i64 %spin_gate, 2147483647
  %spin_done = icmp eq i64 %spin_inside, 0
  br i1 %spin_done, label %finish, label %spin_on
spin_on:
  %s0 = call i32 @sched_yield()
  %spins_next = add i64 %spins, 1
  %spin_more = icmp slt i64 %spins_next, {_SPINS}
  br i1 %spin_more, label %spin, label %sleep

sleep:
  %l0 = call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i32 1, ptr @owner_sleeps seq_cst, align 4
  br label %sleep_check
sleep_check:
  %sleep_gate = load atomic i64, ptr @gate seq_cst, align 8
  %sleep_inside = and i64 %sleep_gate, 2147483647
  %sleep_done = icmp eq i64 %sleep_inside, 0
  br i1 %sleep_done, label %awake, label %sleep_wait
sleep_wait:
  %l1 = call i32 @pthread_cond_wait(ptr @finished, ptr @mutex)
  br label %sleep_check
awake:
  store atomic i32 0, ptr @owner_sleeps monotonic, align 4
  %l2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %finish

finish:
  store atomic i32 0, ptr @busy release, align 4
  ret void

serial_start:
  %any_chunk = icmp sgt i64 %chunks, 0
  br i1 %any_chunk, label %serial, label %serial_end
serial:
  %serial_chunk = phi i64 [ 0, %serial_start ], [ %serial_next, %serial ]
  call void %function(ptr %context, i64 %serial_chunk)
  %serial_next = add i64 %serial_chunk, 1
  %serial_more = icmp slt i64 %serial_next, %chunks
  br i1 %serial_more, label %serial, label %serial_end
serial_end:
  ret void
}}

; Whether the gate, as read, is open for a worker that has last served the generation %seen.
define internal i1 @invites(i64 %gate, i64 %seen) alwaysinline {{
  %open = and i64 %gate, 2147483648
  %is_open = icmp ne i64 %open, 0
  %generation = lshr i64 %gate, 32
  %is_new = icmp ne i64 %generation, %seen
  %both = and i1 %is_open, %is_new
  ret i1 %both
}}

define void @gx.worker(i64 %index) {{
entry:
  call void @enlist(i64 %index)
  br label %idle

idle:
  %seen = phi i64 [ -1, %entry ], [ %served, %served_one ]
  br label %spin

spin:
  %spins = phi i64 [ 0, %idle ], [ %spins_next, %spin_on ]
  %stop = load atomic i32, ptr @stopping monotonic, align 4
  %leave = icmp ne i32 %stop, 0
  br i1 %leave, label %end, label %look
look:
  %spin_gate = load atomic i64, ptr @gate acquire, align 8
  %spin_invited = call i1 @invites(i64 %spin_gate, i64 %seen)
  br i1 %spin_invited, label %enter, label %spin_on
spin_on:
  %s0 = call i32 @sched_yield()
  %spins_next = add i64 %spins, 1
  %spin_more = icmp slt i64 %spins_next, {_SPINS}
  br i1 %spin_more, label %spin, label %sleep

sleep:
  %l0 = call i32 @pthread_mutex_lock(ptr @mutex)
  %l1 = atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %sleep_check
sleep_check:
  %sleep_stop = load atomic i32, ptr @stopping seq_cst, align 4
  %sleep_leave = icmp ne i32 %sleep_stop, 0
  %sleep_gate = load atomic i64, ptr @gate seq_cst, align 8
  %sleep_invited = call i1 @invites(i64 %sleep_gate, i64 %seen)
  %sleep_end = or i1 %sleep_leave, %sleep_invited
  br i1 %sleep_end, label %awake, label %sleep_wait
sleep_wait:
  %l2 = call i32 @pthread_cond_wait(ptr @wake, ptr @mutex)
  br label %sleep_check
awake:
  %l3 = atomicrmw sub ptr @sleepers, i64 1 monotonic
  %l4 = call i32 @pthread_mutex_unlock(ptr @mutex)
  br i1 %sleep_leave, label %end, label %enter

enter:
  %gate = phi i64 [ %spin_gate, %look ], [ %sleep_gate, %awake ], [ %changed, %enter_again ]
  %served = lshr i64 %gate, 32
  %inside = and i64 %gate, 2147483647
  %admitted = load atomic i64, ptr @admitted monotonic, align 8
  %room = icmp slt i64 %inside, %admitted
  br i1 %room, label %enter_try, label %served_one
enter_try:
  %one_more = add i64 %gate, 1
  %exchange = cmpxchg ptr @gate, i64 %gate, i64 %one_more acq_rel acquire
  %entered = extractvalue {{ i64, i1 }} %exchange, 1
  br i1 %entered, label %work, label %refused
refused:
  %changed = extractvalue {{ i64, i1 }} %exchange, 0
  %still = call i1 @invites(i64 %changed, i64 %seen)
  br i1 %still, label %enter_again, label %served_one
enter_again:
  br label %enter

work:
  %function = load ptr, ptr @function, align 8
  %context = load ptr, ptr @context, align 8
  %shares = load i64, ptr @shares, align 8
  %chunks = load i64, ptr @chunks, align 8
  %number = add i64 %index, 1
  %share = urem i64 %number, %shares
  call void @run_remaining(ptr %function, ptr %context, i64 %chunks, i64 %share)
  %before = atomicrmw sub ptr @gate, i64 1 seq_cst
  %before_low = and i64 %before, 4294967295
  %last_out = icmp eq i64 %before_low, 1
  br i1 %last_out, label %tell, label %served_one
tell:
  %waits = load atomic i32, ptr @owner_sleeps seq_cst, align 4
  %owner_waits = icmp ne i32 %waits, 0
  br i1 %owner_waits, label %tell_owner, label %served_one
tell_owner:
  %t0 = call i32 @pthread_mutex_lock(ptr @mutex)
  %t1 = call i32 @pthread_cond_signal(ptr @finished)
  %t2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %served_one

served_one:
  br label %idle

end:
  ret void
}}

define void @gx.limit(i64 %threads) {{
  store atomic i64 %threads, ptr @limit seq_cst, align 8
  ret void
}}

define i64 @gx.started() {{
  %count = load i64, ptr @started, align 8
  ret i64 %count
}}

; Only before the first worker of a process starts: then nobody holds the mutex.
define void @gx.reset() {{
  store i32 0, ptr @busy, align 4
  store i64 0, ptr @gate, align 8
  store i64 0, ptr @started, align 8
  store i64 0, ptr @sleepers, align 8
  store i32 0, ptr @owner_sleeps, align 4
  store i32 0, ptr @stopping, align 4
  call void @forget_threads()
  %1 = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %2 = call i32 @pthread_cond_init(ptr @wake, ptr null)
  %3 = call i32 @pthread_cond_init(ptr @finished, ptr null)
  ret void
}}

define void @gx.stop() {{
  store atomic i64 1, ptr @limit seq_cst, align 8
  %1 = call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i32 1, ptr @stopping seq_cst, align 4
  %2 = call i32 @pthread_cond_broadcast(ptr @wake)
  %3 = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}}
"""

_STEERING = """
@steered = internal global i32 -1, align 8
@allowed = internal global [16 x i64] zeroinitializer, align 8
@threads = internal global [8 x i32] zeroinitializer, align 8

declare i32 @gettid()
declare i32 @sched_getcpu()
declare i32 @sched_setaffinity(i32, i64, ptr)

define void @gx.allow(i64 %cpu) {
  %word = lshr i64 %cpu, 6
  %bit = and i64 %cpu, 63
  %mask = shl i64 1, %bit
  %place = getelementptr i64, ptr @allowed, i64 %word
  %old = load i64, ptr %place, align 8
  %new = or i64 %old, %mask
  store i64 %new, ptr %place, align 8
  ret void
}

define internal void @enlist(i64 %index) {
  %small = icmp ult i64 %index, 8
  br i1 %small, label %store, label %end
store:
  %thread = call i32 @gettid()
  %place = getelementptr i32, ptr @threads, i64 %index
  store atomic i32 %thread, ptr %place monotonic, align 4
  br label %end
end:
  ret void
}

; A thread's number may be another one's after a fork.
define internal void @forget_threads() {
  store i32 -1, ptr @steered, align 4
  call void @llvm.memset.p0.i64(ptr align 8 @threads, i8 0, i64 32, i1 false)
  ret void
}

define internal void @steer() {
entry:
  %mask = alloca [16 x i64], align 8
  %cpu = call i32 @sched_getcpu()
  %last = load i32, ptr @steered, align 4
  %same = icmp eq i32 %cpu, %last
  %known = icmp ult i32 %cpu, 1024
  %moved = xor i1 %same, true
  %needed = and i1 %moved, %known
  br i1 %needed, label %begin, label %end
begin:
  store i32 %cpu, ptr @steered, align 4
  call void @llvm.memcpy.p0.p0.i64(ptr align 8 %mask, ptr align 8 @allowed, i64 128, i1 false)
  %wide = zext i32 %cpu to i64
  %word = lshr i64 %wide, 6
  %bit = and i64 %wide, 63
  %one = shl i64 1, %bit
  %others = xor i64 %one, -1
  %place = getelementptr i64, ptr %mask, i64 %word
  %old = load i64, ptr %place, align 8
  %new = and i64 %old, %others
  store i64 %new, ptr %place, align 8
  br label %each
each:
  %index = phi i64 [ 0, %begin ], [ %next_index, %skip ]
  %thread_place = getelementptr i32, ptr @threads, i64 %index
  %thread = load atomic i32, ptr %thread_place monotonic, align 4
  %exists = icmp ne i32 %thread, 0
  br i1 %exists, label %restrict, label %skip
restrict:
  %ignored = call i32 @sched_setaffinity(i32 %thread, i64 128, ptr %mask)
  br label %skip
skip:
  %next_index = add i64 %index, 1
  %more = icmp slt i64 %next_index, 8
  br i1 %more, label %each, label %end
end:
  ret void
}
"""

_NO_STEERING = """
define internal void @enlist(i64 %index) {
  ret void
}

define internal void @forget_threads() {
  ret void
}

define internal void @steer() {
  ret void
}
"""


def pool_text(steering: bool) -> str:
    """The module that defines ``EXPORTS``, and with ``steering`` also ``STEERING_EXPORTS``."""
    return _POOL + (_STEERING if steering else _NO_STEERING)
