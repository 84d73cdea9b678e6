# SPDX-License-Identifier: MIT
"""What rank_check --self-test plants: violations that must be reported, and what must not be."""

# Each violation: rule, file, text that is appended to it (or makes it).
PLANTED = [
    ("include", "src/base/defs.h", '#include "core/planted.h"\n'),
    ("include", "src/proto/planted.c", '#include "core/planted.h"\n'),
    ("include", "src/proto/planted.c", '#include "nowhere.h"\n'),
    ("include", "src/core/planted.h", '#include "core/planted2.h"\n'),
    ("include", "src/policy/planted.c", "int x;\n"),
    ("include", "src/io/system/planted.c", '#include "io/wake/park.h"\n'),
    ("include", "src/io/tls/planted.c", '#include "io/uring.h"\n'),
    ("header", "src/core/planted.c", "#include <sys/socket.h>\n"),
    ("header", "src/proto/planted.c", "#include <unistd.h>\n"),
    ("header", "src/core/planted.c", "#include <pthread.h>\n"),
    ("header", "src/api/planted.c", "#include <sys/epoll.h>\n"),
    ("call", "src/core/planted.c", "void f(void)\n{\n    clock_gettime(1, 0);\n}\n"),
    ("call", "src/proto/planted.c", 'void f(void)\n{\n    printf("x");\n}\n'),
    ("call", "src/core/planted.c", "void f(void)\n{\n    (void)write(1, 0, 0);\n}\n"),
    ("heap", "src/io/planted.c", "void *f(void)\n{\n    return malloc(1);\n}\n"),
    ("descriptor", "src/io/planted.c", "int f(void)\n{\n    return socket(1, 2, 3);\n}\n"),
    ("descriptor", "src/io/planted.c", "FILE *f(void)\n{\n    return fopen(p, q);\n}\n"),
    ("descriptor", "src/io/planted.c", "int f(void)\n{\n    return io_uring_queue_init(1, r, 0);\n}\n"),
    ("atomic", "src/lockfree/planted.c", "int f(void)\n{\n    return atomic_load(&x);\n}\n"),
    ("atomic", "src/lockfree/planted.c",
     "\n\n\n\n\n\n\nint f(void)\n{\n    return atomic_load_explicit(&x, memory_order_seq_cst);\n}\n"),
    ("text", "src/base/planted.c", "volatile int x;\n"),
    ("text", "src/base/planted.c", "int x; // comment\n"),
    ("text", "tests/planted.c", "/* TODO */\n"),
    ("size", "src/base/planted.c", "int x;\n" * 501),
    ("size", "src/base/planted.c", "void f(void)\n{\n" + "    x++;\n" * 71 + "}\n"),
]
# What must not be reported.
INNOCENT = [
    ("src/core/planted.c", 'static const char text[] = "// volatile malloc(";\n'),
    ("src/core/planted.c", "void f(struct log *log)\n{\n    log->write(log);\n}\n"),
    ("src/core/planted.c", "static int time(int x)\n{\n    return x;\n}\nint g(void)\n{\n"
                           "    return time(1);\n}\n"),
    ("src/io/planted.c", "#include <sys/socket.h>\n"),
    ("src/io/planted.c", '#include "io/tls/layer.h"\n'),
    ("src/io/tls/planted.c", "#include <sys/socket.h>\n"),
    ("src/io/planted.c", "int f(void)\n{\n    return rlt_descriptor_above(dup(1));\n}\n"),
    ("src/io/planted.c", "void f(struct x *x)\n{\n    x->ops->open(x);\n}\n"),
    ("src/base/planted.c", "void f(void)\n{\n" + "    x++;\n" * 70 + "}\n"),
    ("tests/planted.c", "int x;\n" * 700),
    ("src/lockfree/planted.c", "/* Needed: why. */\nint x = memory_order_seq_cst;\n"),
]

# Calls between files, which are compiled: rule, and the texts of the files.
PLANTED_RANKS = ["base", "core/seam", "core/delivery", "io/wake", "io", "api"]
UP = "int rlt_up(void);\nint rlt_low(void)\n{\n    return rlt_up();\n}\n"
TOP = "int rlt_up(void)\n{\n    return 1;\n}\n"
ROUND = "int rlt_low(void);\nint rlt_up(void)\n{\n    return rlt_low();\n}\n"
PLANTED_CALLS = [
    ("symbol", {"src/base/a.c": UP, "src/api/b.c": TOP}),
    ("symbol", {"src/core/seam/a.c": UP, "src/core/delivery/b.c": TOP}),
    ("symbol", {"src/io/wake/a.c": UP, "src/io/b.c": TOP}),
    ("symbol", {"src/base/a.c": "extern int rlt_up;\nint *rlt_low(void)\n{\n    return &rlt_up;\n}\n",
                "src/io/b.c": "int rlt_up = 1;\n"}),
    ("symbol", {"src/api/a.c": UP}),
    ("symbol", {"src/policy/a.c": TOP}),
    ("symbol", {"src/core/seam/a.c": "int close(int);\nint rlt_a(void)\n{\n    return close(1);\n}\n"}),
    ("circle", {"src/base/a.c": UP, "src/base/b.c": ROUND}),
    ("circle", {"tools/roulette/a.c": UP, "tools/roulette/b.c": ROUND}),
    ("circle", {"bench/x/a.c": UP, "bench/x/b.c": "int m(void);\nint rlt_up(void)\n{\n    return m();\n}\n",
                "bench/x/c.c": "int rlt_low(void);\nint m(void)\n{\n    return rlt_low();\n}\n"}),
]
INNOCENT_CALLS = [
    {"src/api/a.c": UP, "src/base/b.c": TOP},
    {"src/core/delivery/a.c": UP, "src/core/seam/b.c": TOP},
    {"tools/x/a.c": UP, "tools/y/b.c": ROUND},
    {"src/base/a.c": "static int rlt_up(void)\n{\n    return 1;\n}\nint rlt_low(void)\n{\n"
                     "    return rlt_up();\n}\n", "src/base/b.c": ROUND},
    {"tests/x/a.c": UP, "tests/x/b.c": ROUND, "src/base/c.c": "int rlt_c;\n"},
    {"src/io/a.c": "int close(int);\nint rlt_a(void)\n{\n    return close(1);\n}\n"},
]
