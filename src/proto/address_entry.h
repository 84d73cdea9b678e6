/* SPDX-License-Identifier: MIT */
/**
 * One entry of the list of clusters, and how an error quotes it: rlt_address_refuse() is the only
 * place that quotes an entry, and so the only place that must not show a credential.
 */
#ifndef RLT_PROTO_ADDRESS_ENTRY_H
#define RLT_PROTO_ADDRESS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/text.h"

/** The most digits of a port. */
#define RLT_PORT_LEN_MAX 5

struct rlt_address_entry {
    struct rlt_text text; /* without the blanks around it */
    size_t number;        /* from 1 */
    /* An '@' follows in this or a later entry before the next scheme: if it was meant to end
     * credentials with a comma in them, all of this entry is credentials. */
    bool in_credentials;
};

/** Find the index of the first "://", or the length. */
size_t rlt_address_scheme_end(struct rlt_text text);

/** Whether an error shows "***" for the text behind the host, which may be a password. */
bool rlt_address_hides_port(const struct rlt_address_entry *entry);

/** Set roulette_last_error(): the entry, quoted, then what is wrong with it. Returns: `error`. */
__attribute__((format(printf, 3, 4))) int rlt_address_refuse(const struct rlt_address_entry *entry,
                                                             int error, const char *format, ...);

#endif
