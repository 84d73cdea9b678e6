/* SPDX-License-Identifier: MIT */
#include "base/memory.h"
#include "support/test.h"

#include <stdint.h>
#include <string.h>

/** A gate that lets `left` more allocations through and remembers the last size. */
struct gate {
    unsigned left;
    unsigned calls;
    size_t size;
};

static int let_some_through(void *context, size_t size)
{
    struct gate *gate = context;
    gate->calls++;
    gate->size = size;
    if (gate->left == 0) {
        return 0;
    }
    gate->left--;
    return 1;
}

Test(memory, alloc_is_zeroed)
{
    unsigned char *block = rlt_memory_alloc(100, 7);
    cr_assert_not_null(block);
    for (size_t i = 0; i < 700; i++) {
        cr_assert_eq(block[i], 0);
    }
    rlt_memory_free(block);
}

Test(memory, alloc_refuses_a_product_that_overflows)
{
    cr_assert_null(rlt_memory_alloc(SIZE_MAX / 2 + 2, 2));
    cr_assert_null(rlt_memory_alloc(SIZE_MAX, SIZE_MAX));
}

Test(memory, alloc_of_nothing_is_a_block)
{
    void *block = rlt_memory_alloc(0, 16);
    cr_assert_not_null(block);
    rlt_memory_free(block);
}

Test(memory, aligned_block_is_aligned)
{
    for (size_t alignment = sizeof(void *); alignment <= 65536; alignment *= 2) {
        void *block = rlt_memory_alloc_aligned(alignment, 3 * alignment);
        cr_assert_not_null(block);
        cr_assert_eq((uintptr_t)block % alignment, 0);
        memset(block, 0xa5, 3 * alignment);
        rlt_memory_free(block);
    }
}

Test(memory, resize_keeps_the_bytes)
{
    char *block = rlt_memory_alloc(4, 1);
    cr_assert_not_null(block);
    memcpy(block, "abcd", 4);
    char *larger = rlt_memory_resize(block, 4096);
    cr_assert_not_null(larger);
    cr_assert_arr_eq(larger, "abcd", 4);
    rlt_memory_free(larger);
}

Test(memory, resize_of_null_allocates)
{
    void *block = rlt_memory_resize(NULL, 8);
    cr_assert_not_null(block);
    rlt_memory_free(block);
}

Test(memory, copied_text_is_terminated)
{
    char *copy = rlt_memory_copy_text("room.1 and more", 6);
    cr_assert_not_null(copy);
    cr_assert_str_eq(copy, "room.1");
    rlt_memory_free(copy);
    cr_assert_null(rlt_memory_copy_text("", SIZE_MAX));
}

Test(memory, free_allows_null)
{
    rlt_memory_free(NULL);
}

Test(memory, gate_sees_each_allocation_with_its_size)
{
    struct gate gate = {.left = 100};
    rlt_memory_set_gate(let_some_through, &gate);
    void *block = rlt_memory_alloc(3, 5);
    cr_assert_eq(gate.size, 15);
    block = rlt_memory_resize(block, 20);
    cr_assert_eq(gate.size, 20);
    void *aligned = rlt_memory_alloc_aligned(64, 128);
    cr_assert_eq(gate.size, 128);
    char *text = rlt_memory_copy_text("abc", 3);
    cr_assert_eq(gate.size, 4);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(gate.calls, 4);
    rlt_memory_free(block);
    rlt_memory_free(aligned);
    rlt_memory_free(text);
}

Test(memory, gate_makes_every_kind_of_allocation_fail)
{
    struct gate gate = {.left = 1};
    rlt_memory_set_gate(let_some_through, &gate);
    char *block = rlt_memory_alloc(1, 4);
    cr_assert_not_null(block);
    memcpy(block, "keep", 4);
    cr_assert_null(rlt_memory_alloc(1, 1));
    cr_assert_null(rlt_memory_alloc_aligned(64, 64));
    cr_assert_null(rlt_memory_resize(block, 8));
    cr_assert_null(rlt_memory_copy_text("a", 1));
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_arr_eq(block, "keep", 4, "a failed resize leaves the old block");
    rlt_memory_free(block);
    cr_assert_eq(gate.calls, 5);
}
