"""From a program to native code: nodes, schedule, loops, LLVM text, object code, entry point."""
