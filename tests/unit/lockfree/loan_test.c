/* SPDX-License-Identifier: MIT */
#include "lockfree/loan.h"

#include "support/test.h"
#include "unit/lockfree/stress.h"

Test(loan, is_borrowed_by_one_at_a_time)
{
    struct rlt_loan loan = {0};
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_HOME, "nothing is lent yet");
    rlt_loan_lend(&loan);
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_LENT);
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_TAKEN);
    cr_assert(rlt_loan_give_back(&loan));
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_LENT, "lent again");
}

Test(loan, owner_takes_back_what_nobody_has)
{
    struct rlt_loan loan = {0};
    cr_assert(rlt_loan_recall(&loan));
    rlt_loan_lend(&loan);
    cr_assert(rlt_loan_recall(&loan));
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_HOME);
}

Test(loan, recalled_one_comes_home_when_given_back)
{
    struct rlt_loan loan = {0};
    rlt_loan_lend(&loan);
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_LENT);
    cr_assert_not(rlt_loan_is_recalled(&loan));
    cr_assert_not(rlt_loan_recall(&loan));
    cr_assert_not(rlt_loan_recall(&loan), "still out");
    cr_assert(rlt_loan_is_recalled(&loan));
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_RECALLED);
    cr_assert_not(rlt_loan_give_back(&loan), "the owner is to be woken");
    cr_assert(rlt_loan_recall(&loan));
}

Test(loan, borrower_may_leave_the_rest_to_the_owner)
{
    struct rlt_loan loan = {0};
    rlt_loan_lend(&loan);
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_LENT);
    rlt_loan_bring_home(&loan);
    cr_assert_eq(rlt_loan_borrow(&loan), RLT_LOAN_HOME);
    cr_assert(rlt_loan_recall(&loan));
}

/* ---- Threads ------------------------------------------------------------------------------ */

#define BORROWERS 3

struct race {
    struct rlt_loan loan;
    uint64_t used; /* what is lent: no atomic, whoever has it counts */
    uint64_t by_owner;
    _Atomic(uint64_t) put; /* work that someone has to see */
    uint64_t seen;         /* as `used` */
    _Atomic(uint32_t) done;
    _Atomic(uint32_t) woken;
    uint64_t rounds;
};

static void use(struct race *race)
{
    race->used++;
    /* Acquire: as the lanes' tails. */
    race->seen = atomic_load_explicit(&race->put, memory_order_acquire);
}

static void *borrow(void *argument)
{
    struct race *race = argument;
    for (uint64_t i = 0; i < race->rounds; i++) {
        atomic_fetch_add_explicit(&race->put, 1, memory_order_release);
        for (;;) {
            enum rlt_loan_state state = rlt_loan_borrow(&race->loan);
            if (state != RLT_LOAN_LENT) {
                /* Another borrower sees it, or the owner is to be woken. */
                if (state == RLT_LOAN_HOME) {
                    atomic_store_explicit(&race->woken, 1, memory_order_release);
                }
                break;
            }
            use(race);
            uint64_t seen = race->seen;
            if (i % 16 == 0) {
                rlt_loan_bring_home(&race->loan);
                atomic_store_explicit(&race->woken, 1, memory_order_release);
                break;
            }
            if (!rlt_loan_give_back(&race->loan)) {
                atomic_store_explicit(&race->woken, 1, memory_order_release);
                break;
            }
            if (atomic_load_explicit(&race->put, memory_order_relaxed) == seen) {
                break;
            }
        }
    }
    atomic_fetch_add_explicit(&race->done, 1, memory_order_release);
    return NULL;
}

Test(loan, nobody_uses_it_beside_another_and_no_work_is_missed)
{
    struct race race = {.rounds = 200000 / STRESS_SCALE};
    pthread_t threads[BORROWERS];
    for (int i = 0; i < BORROWERS; i++) {
        threads[i] = stress_start(borrow, &race);
    }
    bool due = false; /* woken since the last use */
    while (atomic_load_explicit(&race.done, memory_order_acquire) != BORROWERS) {
        /* Awake: take it back; use it; sleep a little, or until woken. */
        if (rlt_loan_recall(&race.loan)) {
            use(&race);
            due = false;
            race.by_owner++;
            rlt_loan_lend(&race.loan);
        }
        for (int i = 0; i < 1000 && !due; i++) {
            due = atomic_exchange_explicit(&race.woken, 0, memory_order_acq_rel) != 0;
        }
    }
    for (int i = 0; i < BORROWERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    due = due || atomic_load(&race.woken) != 0;
    cr_assert(rlt_loan_recall(&race.loan), "given back by all");
    cr_assert(race.seen == BORROWERS * race.rounds || due, "work that nobody saw");
    cr_assert_gt(race.used, race.by_owner, "nobody has borrowed");
}
