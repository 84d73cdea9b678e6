/* SPDX-License-Identifier: MIT */
/**
 * The seam between the core and the machine. The core decides, a transport moves bytes and wakes
 * threads: io_uring in production, another backend where that is forbidden, a simulation in
 * tests. Time and random numbers come through the seam too: `now_ns` with every event, the seed
 * at the start.
 *
 * A transport has slots, one for each connection. Per slot at most one open, one receive and one
 * send are in progress; a receive and a send end in exactly one event each, in either order: a
 * peer's answer may arrive before the event of the send that it answers. close() ends all three
 * early: their events come first (with an error, or with a result), that of an open may be missing,
 * RLT_IO_CLOSED comes last, and only then is memory that was handed to the slot free again.
 */
#ifndef RLT_CORE_SEAM_TRANSPORT_H
#define RLT_CORE_SEAM_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes in memory; laid out as struct iovec. */
struct rlt_span {
    void *bytes;
    size_t len;
};

enum rlt_io_kind {
    RLT_IO_OPENED,   /* error 0: connected; otherwise ROULETTE_ERESOLVE, _ECONNECT, _ESELF (to the
                        very socket), _ESYSTEM, _ENOMEM */
    RLT_IO_SECURED,  /* error 0: TLS from here on; otherwise ROULETTE_ETLS, _ENOTSUP (this
                        transport has no TLS), _EDISCONNECTED, _ENOMEM: nothing may be sent */
    RLT_IO_RECEIVED, /* error 0: `bytes` > 0 arrived; otherwise the stream is over */
    RLT_IO_SENT,     /* error 0: `bytes` > 0 were taken; otherwise none, and the stream is over */
    RLT_IO_CLOSED,
    RLT_IO_READABLE, /* error 0: a watched slot may be readable, or over; otherwise it can be
                        watched no more */
};

struct rlt_io_event {
    uint32_t slot;
    enum rlt_io_kind kind;
    int error; /* ROULETTE_ETLS: the peer's bytes are not the TLS that was agreed on;
                  ROULETTE_ESYSTEM: the kernel executes no more operations;
                  ROULETTE_EDISCONNECTED: any other end, that by the peer included */
    size_t bytes;
};

struct rlt_transport;

/** All functions but send_now(), receive_now(), signal() and wake() are called by the event thread
 *  alone; none blocks. */
struct rlt_transport_ops {
    const char *name;
    /** Resolve the host anew and connect to one of its addresses. */
    void (*open)(struct rlt_transport *transport, uint32_t slot, const char *host, uint16_t port);
    /**
     * Speak TLS on an open slot, as the client of `host`: once, with no receive or send in
     * progress, behind INFO (or RLT_IO_OPENED, if the server expects it). Ends in RLT_IO_SECURED;
     * nothing may be sent until then. May be NULL where it is never called.
     */
    void (*secure)(struct rlt_transport *transport, uint32_t slot, const char *host);
    /** Receive into 1 or 2 spans, in order. The spans are copied, the memory is not. */
    void (*receive)(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                    uint32_t count);
    /**
     * Receive available bytes into 1 or 2 spans, while no receive is in progress. Called by the
     * event thread, or by a borrower of the receiving side (core/cluster/direct_receive.h). NULL if
     * the transport cannot.
     *
     * Returns: the bytes; 0 if there are none; < 0 if the stream is over: receive() tells why.
     */
    int64_t (*receive_now)(struct rlt_transport *transport, uint32_t slot,
                           const struct rlt_span *spans, uint32_t count);
    /**
     * Begin or cease to report by RLT_IO_READABLE that a slot is readable; while a subscriber
     * attends, that subscriber is told instead. No receive is in progress meanwhile, and close()
     * comes after the watch has ended. NULL if there is no receive_now().
     *
     * Returns: false if the watch could not begin.
     */
    bool (*watch)(struct rlt_transport *transport, uint32_t slot, bool on);
    /** Send spans in order; any part of them may be taken. As receive(). */
    void (*send)(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                 uint32_t count);
    /**
     * Send what the kernel takes at once, while no send is in progress. Called by a borrower of the
     * sending side (core/cluster/direct_send.h), not by the event thread. NULL if the transport
     * cannot.
     *
     * Returns: the bytes taken; 0 if none, or if the stream is over: the next send() tells.
     */
    size_t (*send_now)(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                       uint32_t count);
    /** Whether the peer's machine acknowledges the bytes sent on an open slot, as far as is known.
     * May be NULL: nothing is known. */
    bool (*is_acknowledged)(struct rlt_transport *transport, uint32_t slot);
    /**
     * Explain why a slot has failed with ROULETTE_ETLS or _ESYSTEM, in one sentence without
     * secrets; "": unknown. May be NULL.
     */
    const char *(*explain)(struct rlt_transport *transport, uint32_t slot);
    /** Cancel the operations in progress and close. */
    void (*close)(struct rlt_transport *transport, uint32_t slot);
    /** Wake a subscriber that sleeps on its descriptor. */
    void (*signal)(struct rlt_transport *transport, int descriptor);
    /** Wake all threads that sleep on a word. */
    void (*wake)(struct rlt_transport *transport, _Atomic(uint32_t) *word);
};

struct rlt_transport {
    const struct rlt_transport_ops *ops;
};

#endif
