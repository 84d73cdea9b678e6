/* SPDX-License-Identifier: MIT */
/**
 * roulette: publish and subscribe over several independent NATS clusters.
 *
 * Each cluster stands behind one address. The topic alone decides, by consistent hashing, which
 * cluster carries it, so load spreads over clusters that know nothing of each other. Event threads,
 * each for one cluster or several, own the sockets; publishing takes no lock, and sends by itself
 * only while the event thread sleeps; received payloads are used in place, in the memory the kernel
 * wrote them to.
 *
 * Each entry of the server list is a cluster of its own. Two entries that lead to one NATS cluster,
 * or to clusters that gateways or leaf nodes join, give each message of a wildcard subscription
 * twice.
 *
 * EXAMPLE-BEGIN (a test compiles and runs these lines)
 *
 *     #include <roulette.h>
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct roulette_options options;
 *         roulette_client *client;
 *         roulette_subscriber *subscriber;
 *         struct roulette_message message;
 *
 *         roulette_options_init(&options);
 *         options.servers = argc > 1 ? argv[1] : "127.0.0.1:4222";
 *         if (roulette_open(&options, &client) < 0) {
 *             fprintf(stderr, "%s\n", roulette_last_error());
 *             return 1;
 *         }
 *         roulette_subscriber_open(client, NULL, &subscriber);
 *         roulette_subscribe(subscriber, "room.1", ROULETTE_STRLEN, NULL, NULL);
 *         roulette_flush(client, 5000, NULL, 0);
 *         roulette_publish(client, "room.1", ROULETTE_STRLEN, "hello", 5);
 *         if (roulette_receive(subscriber, &message, 1, 5000) == 1) {
 *             printf("%.*s\n", (int)message.payload_len, (const char *)message.payload);
 *             roulette_release(subscriber, &message, 1);
 *         }
 *         roulette_subscriber_close(subscriber);
 *         roulette_close(client, 1000, NULL, 0);
 *         roulette_free(client);
 *         return 0;
 *     }
 *
 * EXAMPLE-END
 *
 * Conventions. Functions that can fail return 0 or a count, or a negative ROULETTE_E… code;
 * out-parameters are untouched on failure, unless a call says that it sets one. A topic is bytes
 * and a length; ROULETTE_STRLEN as the length means "NUL-terminated". A timeout is in milliseconds:
 * 0 is "do not wait", negative is "no deadline".
 *
 * Structs that grow. A program works with a library that is older or newer than the header that it
 * was compiled with, because a struct says by its first field, `size`, how many bytes of it the
 * program knows; new fields come at the end. The inline functions below set `size`: the init
 * function of each kind of options, and roulette_stats_get(). The library reads and writes no byte
 * behind it. An option that the program does not know has its default; one that the library does
 * not know is refused with ROULETTE_EINVAL, unless it is 0, as are options without a `size`; a
 * result that the library does not know is 0. Two structs stand in arrays and have no `size`, but
 * 128 bytes for ever, struct roulette_ledger and struct roulette_message: a new field takes room of
 * `reserved`, which is 0.
 *
 * Misuse. Some mistakes no error code could tell of: releasing a message twice or to another
 * subscriber; closing or freeing a handle twice; calling for a subscriber while another thread
 * waits in roulette_receive() of it; waiting for an event thread in a log callback. They end the
 * process by abort(), after a line on stderr that names the call and the mistake. A library that is
 * built without NDEBUG also sees two threads that are inside calls of one subscriber at once. Using
 * a handle that was closed or freed is not found out.
 */
#ifndef ROULETTE_H
#define ROULETTE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library hides everything that is not declared here. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* ---- Version ------------------------------------------------------------------------------ */

#define ROULETTE_VERSION_MAJOR 0
#define ROULETTE_VERSION_MINOR 1
#define ROULETTE_VERSION_PATCH 0

/**
 * The version of the library that is linked, as "major.minor.patch".
 *
 * Threads: any thread. Does not block or allocate.
 */
const char *roulette_version(void);

/* ---- Errors ------------------------------------------------------------------------------- */

/** X(name, value, text): every error code, once. */
#define ROULETTE_ERRORS(X)                                                             \
    X(EINVAL, -1, "an argument is NULL or out of range")                               \
    X(ENOMEM, -2, "memory could not be allocated")                                     \
    X(EAGAIN, -3, "the queue is full; retry later or publish with a timeout")          \
    X(ETIMEDOUT, -4, "the deadline passed first")                                      \
    X(ECLOSED, -5, "the client or subscriber is closed")                               \
    X(EEXIST, -6, "this subscriber is already subscribed to this topic")               \
    X(ENOENT, -7, "there is no such subscription")                                     \
    X(ETOPIC, -8, "the topic is not valid")                                            \
    X(EWILDCARD, -9, "a wildcard topic cannot be published to")                        \
    X(EPAYLOAD, -10, "the payload is larger than the server or the queue accepts")     \
    X(ESERVERS, -11, "the server list is not valid")                                   \
    X(EDISCONNECTED, -12, "the connection to the cluster was lost")                    \
    X(EUNREACHABLE, -13, "the cluster could not be reached within max_retry attempts") \
    X(EPROTOCOL, -14, "the server sent bytes that are not NATS protocol")              \
    X(EAUTH, -15, "the server refused the credentials")                                \
    X(EPERMISSION, -16, "the server does not permit this topic")                       \
    X(ESERVER, -17, "the server reported an error")                                    \
    X(ESTALE, -18, "the server stopped answering")                                     \
    X(ERESOLVE, -19, "the host name could not be resolved")                            \
    X(ECONNECT, -20, "the connection could not be opened")                             \
    X(ESYSTEM, -21, "the operating system refused a resource")                         \
    X(ENOTSUP, -22, "this is not supported by the server or this build")               \
    X(EBUSY, -23, "too many requests of this kind are in progress")                    \
    X(ETLS, -24, "the TLS handshake failed or was refused")                            \
    X(EROLE, -25, "the client's role does not allow this")                             \
    X(EFORKED, -26, "the client belongs to the parent process")                        \
    X(EINFO, -27, "the server's INFO is larger than 1 MiB, the most that is accepted") \
    X(ESELF, -28, "the connection led back to itself: no server listens at that port")

enum roulette_error {
#define ROULETTE_ERROR_ENUM(name, value, text) ROULETTE_##name = (value),
    ROULETTE_ERRORS(ROULETTE_ERROR_ENUM)
#undef ROULETTE_ERROR_ENUM
};

/**
 * The name of an error code, such as "ROULETTE_EAGAIN", or "ROULETTE_OK" for 0 and above.
 *
 * Threads: any thread. Does not block or allocate.
 */
const char *roulette_error_name(int error);

/**
 * One English sentence, without a full stop, for an error code.
 *
 * Threads: any thread. Does not block or allocate.
 */
const char *roulette_error_text(int error);

/**
 * What the last failing call of this thread refused and what to change, in full; where the reason
 * is a cluster, which one, and why it is not connected; "" before the first one. Each call that
 * fails sets it. For a full queue it is a constant text, so that failing costs little.
 *
 * Threads: any thread. The text stays valid until this thread's next failing call.
 */
const char *roulette_last_error(void);

/* ---- Types -------------------------------------------------------------------------------- */

/** A client: a ring, event threads, and one shard (connections, subscriptions) for each cluster. */
typedef struct roulette_client roulette_client;
/** A topic validated, hashed and placed once, for publishers that use it often. */
typedef struct roulette_topic roulette_topic;
/** The receiving end of one application thread. */
typedef struct roulette_subscriber roulette_subscriber;
/** One subscriber's subscription to one topic. */
typedef struct roulette_subscription roulette_subscription;

/** As a length: the text ends with a NUL byte. */
#define ROULETTE_STRLEN ((size_t)-1)

/** The most bytes that a topic may have. */
#define ROULETTE_TOPIC_LEN_MAX 1024

/* ---- Options ------------------------------------------------------------------------------ */

/** How a topic is placed on a cluster. */
enum roulette_ring {
    /** XXH3 (64 bits) of the topic, then jump consistent hash. */
    ROULETTE_RING_NATIVE = 0,
    /** The placement of the Elixir library Roulette 1.0.5, for fleets that run both. */
    ROULETTE_RING_ROULETTE = 1,
};

/** What becomes of a subscription when its connection is lost. */
enum roulette_restart {
    /** It ends, with a ROULETTE_KIND_ENDED notice. One with a wildcard ends on all clusters when
     * any of them is lost; the notice has that one. */
    ROULETTE_RESTART_TEMPORARY = 0,
    /** It is made again on the next connection, with ROULETTE_KIND_LOST and _RESTORED notices: one
     *  with a wildcard has them for each cluster, and goes on on the others. */
    ROULETTE_RESTART_PERMANENT = 1,
};

/** What a client is for. */
enum roulette_role {
    ROULETTE_ROLE_BOTH = 0,
    ROULETTE_ROLE_PUBLISHER = 1,  /**< subscribing is ROULETTE_EROLE */
    ROULETTE_ROLE_SUBSCRIBER = 2, /**< publishing is ROULETTE_EROLE */
};

/** What becomes of messages that were sent and not confirmed when a connection is lost. */
enum roulette_guarantee {
    /** They are in doubt: never sent again, so the server gets no message twice. */
    ROULETTE_AT_MOST_ONCE = 0,
    /** They stay in the queue until a PONG covers them and are sent again, so some may arrive
     *  twice. None is lost on the way to the server, with two exceptions, both counted: when
     *  max_retry attempts in a row have failed, what was sent ends as in doubt and what was not as
     *  failed (raise max_retry to keep them longer); and a message for which the server closes the
     *  connection (its line or payload is longer than the server takes) is found out and failed,
     *  after at most 11 reconnects for each: 6, and one for each factor of 16 in the number of
     *  unconfirmed messages; fewer if the server says why. The log names it. */
    ROULETTE_AT_LEAST_ONCE = 1,
};

enum roulette_log_level {
    ROULETTE_LOG_ERROR = 0,
    ROULETTE_LOG_WARNING = 1,
    ROULETTE_LOG_INFO = 2,
    ROULETTE_LOG_DEBUG = 3,
};

/**
 * Called by event threads and by roulette_open(). Must not block or call the library. While
 * the process exits, it is called until the exit handlers are over that were registered after the
 * first client was opened: `context` must live so long.
 *
 * A server can cause lines as often as it likes. Of one kind and cluster at most 10 are written in
 * 10 s; then one more tells how many were left out. A flood of one kind hides no other.
 */
typedef void roulette_log_fn(void *context, enum roulette_log_level level, const char *text);

/**
 * Options of a client. Fill with roulette_options_init(), then change what is needed.
 *
 * An option that would have no effect as it is given is refused by roulette_open()
 * (ROULETTE_EINVAL; roulette_last_error() says what to write): tls_* where nothing is spoken to by
 * TLS, one of tls_cert_file and tls_key_file, a CA without tls_verify, a password without a user, a
 * login that no server gets since each has its own, log_level or log_context without a log, what
 * the role leaves no use for, a base_backoff_ms above max_backoff_ms, and what only a later version
 * of the library knows.
 *
 * Memory of one client, at most:
 *     clusters * (pool_size * (queue_bytes + 2 * slab_bytes + 1 MiB) + slab_bytes * slab_count)
 *     + for each subscriber: clusters * (ring_slots * 32 B + slab_count * 16 B)
 *     + for each subscription 205 bytes and its topic; 135 more for each further cluster of a
 *       wildcard; in a queue group with max_messages 80, and 64 for each further cluster.
 * While a connection moves off a lame duck: 4 MiB more; with TLS: 0.5 MiB more for each connection.
 * While a server's INFO of more than 16 KiB (1 MiB at most) is read: 2 MiB more for its connection
 * and 16 MiB for its event thread.
 */
struct roulette_options {
    size_t size; /**< set by roulette_options_init() */

    /**
     * Required. A comma-separated list, one entry for each cluster: `host`, `host:port`,
     * `[v6]:port`, `nats://user:password@host:port` or `nats://token@host:port`; `tls://` for TLS.
     * Port 4222 if none is given. The order counts: it is the clusters' numbering. A host's
     * addresses are looked up for each attempt and tried beside each other until one is connected;
     * "localhost" has both 127.0.0.1 and ::1. Two entries that lead to servers of one NATS cluster,
     * or to one server, are a mistake that only the servers can tell: it is logged
     * (ROULETTE_LOG_WARNING) when both are connected, since wildcard subscriptions get each message
     * twice then.
     */
    const char *servers;
    enum roulette_ring ring; /**< native */
    const char *name;        /**< shown by the server in /connz; NULL: "roulette" */

    uint32_t pool_size; /**< connections for each cluster, 1 to 16; 1 */

    uint32_t connection_timeout_ms; /**< DNS, TCP, INFO and first PONG together; 5000 */
    uint32_t ping_interval_ms;      /**< plus up to a fifth of it as jitter; 5000 */
    uint32_t max_ping_failure;      /**< unanswered pings that end a connection, if its server
                                         does not answer on another one either; 2 */
    uint32_t reconnect_interval_ms; /**< the wait before the first reconnect, at most; 100 */
    uint32_t base_backoff_ms;       /**< wait n is rand(1 .. min(base * 2^n, max)) ms; 10 */
    uint32_t max_backoff_ms;        /**< 5000 */
    /**
     * Failed attempts, in a row, after which queued messages are failed; 10: after 5 s in the mean,
     * 10 s at most, and the time that the attempts take. While the server's port is closed (an
     * attempt is refused at once) it is tried more often, after
     * rand(1 .. max(reconnect_interval, an eighth of the time without a connection)): those extra
     * attempts do not count here, so that the time is the same.
     */
    uint32_t max_retry;

    enum roulette_restart subscription_restart; /**< temporary */
    uint8_t tcp_nodelay;                        /**< 1 */

    const char *user;     /**< NULL; an entry's own user wins */
    const char *password; /**< NULL */
    const char *token;    /**< NULL */

    /**
     * Bytes of published messages that one connection holds at most, a power of two from 1 MiB to
     * 16 GiB; 64 MiB. Divided evenly between 16 lanes: a publishing thread has a lane of its own;
     * from the 16th thread on, threads share the last one. A message cannot be larger than half a
     * lane.
     */
    size_t queue_bytes;
    /** Bytes of one receive slab, a power of two, 128 KiB to 16 MiB; 256 KiB. */
    size_t slab_bytes;
    /** Slabs for each cluster, 4 to 4096; 128. A message cannot be larger than a quarter of them.
     */
    uint32_t slab_count;

    roulette_log_fn *log; /**< NULL: silent */
    void *log_context;
    enum roulette_log_level log_level; /**< ROULETTE_LOG_WARNING */

    enum roulette_role role;           /**< both */
    enum roulette_guarantee guarantee; /**< at most once */

    /**
     * TLS (1.2 or newer) on every cluster; a server written as `tls://` has it anyway. With TLS
     * nothing is ever sent in clear, whatever a server says. 0
     */
    uint8_t tls;
    uint8_t tls_verify; /**< check the certificate and its host name; 1. 0 is logged: insecure */
    uint8_t tls_handshake_first; /**< before INFO, as servers from 2.10.4 on can be set up; 0 */
    /* Files, 16 MiB at most each. They have to be right at roulette_open(), and are read anew for
     * each connection: renew them in any way. One that is half written then fails that attempt. */
    const char *tls_ca_file;     /**< PEM; NULL: tls_ca_path, or the system's CAs */
    const char *tls_ca_path;     /**< a folder made by `openssl rehash`; NULL */
    const char *tls_cert_file;   /**< PEM: our certificate, then its chain; NULL */
    const char *tls_key_file;    /**< PEM, not encrypted; goes with tls_cert_file; NULL */
    const char *tls_server_name; /**< that the certificate must have; NULL: the server's host */

    /** A ".creds" file (JWT and seed). It has to be right at roulette_open(), and is read anew for
     *  each connection; NULL */
    const char *credentials_file;
    /** The seed of a user's nkey ("SU…"); NULL. Not together with credentials_file. */
    const char *nkey_seed;

    /**
     * For how many microseconds the event threads, and a thread in roulette_receive(), look for
     * more to do before they sleep, 0 to 1000000; 0. Waking a thread costs about 5 us; looking
     * takes a whole core for each thread that does; where there are fewer, all that has a deadline
     * is late.
     */
    uint32_t spin_us;

    /**
     * Event threads, 1 to 1024, but not more than there are clusters; 0: one for each cluster, up
     * to half of the CPUs that the process may use. A machine with few CPUs that mostly receives
     * from many clusters does better with as many as it has CPUs. A thread serves several clusters
     * if there are fewer; cluster i is served by thread i % event_threads. 0
     */
    uint32_t event_threads;

    /**
     * For how many milliseconds after a reconnect nothing is published, 0 to 86400000; 0. What was
     * queued while a cluster was away goes out the moment this client is back, but subscribers in
     * other processes come back when their own backoff says so, and core NATS keeps nothing for
     * them: give as long as they may need. The queue goes on accepting; roulette_flush() and
     * roulette_close() wait for the end of it, within their timeouts. Subscriptions are made at
     * once. The first connection of all is not a reconnect if its first attempt succeeds, nor is
     * the move off a lame duck.
     */
    uint32_t reconnect_hold_ms;

    /**
     * For how many milliseconds more a connection is kept that would be given up as silent, or as
     * not read, but whose server answers a second connection, 0 to 86400000; 30000. nats-server up
     * to 2.9 reads nothing from a publisher while a slow subscriber of anybody holds it up: 10 s
     * for each. A second connection with the same credentials asks one ping interval before the
     * end, again as long as there is silence, and is closed at once; it is logged, and counted as
     * `probes` and `held_back`. A server that does not answer is left as soon as without this. The
     * server must be the same (its id), and its machine acknowledge what the first connection
     * sends. 0: never ask.
     */
    uint32_t held_back_max_ms;

    /**
     * For how many milliseconds at most a message that was sent waits for the PING whose PONG
     * confirms it, 0 to 86400000; 50. What is in doubt when a connection is lost is what was sent
     * in about that time and a round trip before. While something is unconfirmed that costs one
     * PING in this time for each connection, without any traffic nothing. 0: only flushes, the
     * PINGs of ping_interval_ms, and one behind each 4 MiB of messages. With at_least_once a PING
     * is on its way whenever something is unconfirmed, whatever this says.
     */
    uint32_t confirm_ms;

    uint32_t reserved; /**< leave it as the init function made it */
};

/**
 * Fill the options, `options->size` bytes, with the defaults that stand beside each field. For
 * programs that cannot call the inline roulette_options_init(), because they are not written in C
 * or C++: they set `size` themselves before.
 *
 * Threads: any thread. Does not block or allocate.
 */
void roulette_options_fill(struct roulette_options *options);

/** Fill `options` with the defaults that stand beside each field. Threads: any thread. Does not
 *  block or allocate. */
static inline void roulette_options_init(struct roulette_options *options)
{
    if (options != NULL) {
        options->size = sizeof(*options);
        roulette_options_fill(options);
    }
}

/** Options of one subscriber. Fill with roulette_subscriber_options_init(). */
struct roulette_subscriber_options {
    size_t size; /**< set by roulette_subscriber_options_init() */
    /**
     * Messages that wait for this subscriber, from each cluster; 16 to 268435456, a power of two;
     * 65536. Messages of one topic and size that arrive one behind the other may count as one.
     */
    uint32_t ring_slots;
    /** Receive memory that unreleased messages of one cluster may pin; 0: half of its slabs. */
    size_t pinned_bytes;
};

/** As roulette_options_fill() and roulette_options_init(). */
void roulette_subscriber_options_fill(struct roulette_subscriber_options *options);
static inline void roulette_subscriber_options_init(struct roulette_subscriber_options *options)
{
    if (options != NULL) {
        options->size = sizeof(*options);
        roulette_subscriber_options_fill(options);
    }
}

/* ---- Ledger and statistics ---------------------------------------------------------------- */

/**
 * Where the published messages of one cluster are. Cumulative since roulette_open(). Once
 * nothing is in flight (after a successful flush, or after roulette_close()):
 *     accepted = confirmed + in_doubt + failed + discarded + denied.
 */
struct roulette_ledger {
    uint64_t accepted;  /**< publish returned 0 */
    uint64_t confirmed; /**< a PONG followed it: the server has processed it, and has sent it to
                             those who were subscribed then, if any was */
    uint64_t in_doubt;  /**< handed to a connection that was lost before the PONG; at least once:
                           also  a message for which the server closes without saying why */
    uint64_t failed;    /**< no server has it: the cluster was away for max_retry attempts, or the
                             server's max_payload fell below it; or, at least once, a message that
                             the server refuses as a line that it does not take */
    uint64_t discarded; /**< never sent: the client was closed first */
    uint64_t denied;    /**< the server refused it, because the user may not publish to its topic
                             (or with its reply): nobody gets it, and it is not sent again */
    uint64_t reserved[10]; /**< 0 */
};

/** Statistics of one cluster. Each field is exact; they are not one snapshot. */
struct roulette_stats {
    size_t size; /**< set by roulette_stats_get() */
    struct roulette_ledger ledger;
    uint64_t published_bytes;    /**< protocol bytes of PUB frames handed to the kernel */
    uint64_t received_messages;  /**< MSG and HMSG frames parsed */
    uint64_t received_bytes;     /**< bytes read from the sockets */
    uint64_t delivered_messages; /**< messages put into subscriber rings */
    uint64_t dropped_ring_full;  /**< deliveries dropped: the subscriber's ring was full */
    uint64_t dropped_pinned;     /**< deliveries dropped: pinned_bytes, or no slab was free */
    uint64_t dropped_oversized;  /**< deliveries dropped: the frame did not fit receive memory */
    uint64_t unknown_sid;        /**< frames for a subscription that had just ended */
    uint64_t joins;              /**< frames cut by a slab's end and joined */
    uint64_t joined_bytes;       /**< bytes moved for that */
    uint64_t connects;           /**< handshakes completed */
    uint64_t connect_failures;   /**< attempts that ended before the first PONG */
    uint64_t disconnects;        /**< established connections that were lost */
    uint64_t lost_by_server;     /**< ... of these: closed by the peer */
    uint64_t lost_by_ping;       /**< ... of these: pings were not answered */
    uint64_t protocol_errors;    /**< ... connections ended because of malformed bytes */
    uint64_t server_errors;      /**< -ERR lines received: logged, if they are not too many; few
                                      end a connection */
    uint64_t subscriptions;      /**< SUBs the cluster holds for this client now */
    uint64_t sends;              /**< send operations */
    uint64_t receives;           /**< receive operations */
    uint64_t wakeups;            /**< times that its event thread was woken from sleep for it */
    uint64_t queued_bytes;       /**< bytes accepted and not yet handed over or given up */
    uint64_t slabs_in_use;       /**< slabs that messages or the sockets hold now */
    uint32_t connected;          /**< connections that are established now */
    int32_t last_error;          /**< why the last connection ended or attempt failed; 0: none */
    const char *backend;         /**< "io_uring" */
    uint64_t suppressed;         /**< second copies dropped while moving off a lame duck */
    uint64_t unmatched;          /**< messages that were too many to remember meanwhile: their
                                      second copies were delivered too */
    uint64_t direct_sends;       /**< ... of the sends: by a publishing thread itself, because the
                                      event thread slept */
    uint64_t direct_receives;    /**< ... of the receives: by a waiting subscriber itself */
    uint64_t held_messages;      /**< messages that waited for older ones while moving off a lame
                                      duck */
    uint64_t held_early;         /**< ... of these: did not wait long enough, for there was no room,
                                      or the older ones did not come: may be out of order */
    uint64_t held_ns_max;        /**< the longest of these waits, ns */
    uint64_t denied_publishes;   /**< times that the server said that it does not permit a
                                      message's topic or reply: ledger.denied says of how many
                                      messages that is true */
    uint64_t stray_pongs;        /**< PONGs that answer no PING: they confirm nothing */
    uint64_t dropped_limit;      /**< messages beyond max_messages of a member of a queue group:
                                      they reached no other member */
    uint64_t probes;             /**< times that a silent server was asked on another connection */
    uint64_t held_back;          /**< times that a connection was kept because the server answered
                                      there: see held_back_max_ms */
};

/* ---- Client ------------------------------------------------------------------------------- */

/**
 * Create a client and start connecting to all clusters. Returns without waiting for them: a
 * cluster that is away is retried for as long as the client lives. The object that contains the
 * library (libroulette.so, or a plugin with the static library inside) is not unloaded any more
 * from then on: dlclose() leaves it in memory until the process ends.
 *
 * Ownership: roulette_close() then roulette_free() end it. Strings in `options` are copied.
 * Threads:   any thread. Allocates; starts options.event_threads threads.
 * Returns:   0; ROULETTE_EINVAL (an option is out of range), ROULETTE_ESERVERS (list empty,
 *            malformed or with a duplicate), ROULETTE_ENOTSUP (the kernel or a sandbox forbids
 *            io_uring_setup or io_uring_enter), ROULETTE_ENOMEM, ROULETTE_ESYSTEM.
 *            roulette_last_error() names the option or system call, and what to change.
 */
int roulette_open(const struct roulette_options *options, roulette_client **client);

/**
 * Stop the client: wait until each accepted message is in a final state (confirmed, in doubt or
 * failed) or `timeout_ms` has passed, count what is left as discarded or in doubt, close the
 * connections and end the threads. A cluster that is away is waited for only as long as messages
 * for it are left, so until max_retry attempts have failed; a connection that is lost meanwhile is
 * made again for them. Every later call on the client and on what was made from it returns
 * ROULETTE_ECLOSED, except receiving and releasing what was already delivered. Behind that each
 * subscription ends with ROULETTE_KIND_ENDED (ROULETTE_ECLOSED). Other threads may be inside the
 * library meanwhile.
 *
 * `ledgers`, if not NULL, takes the final ledger of the first `count` clusters, also with
 * ROULETTE_ETIMEDOUT and ROULETTE_EPERMISSION.
 *
 * Threads: any thread, once. Blocks up to the deadline plus 100 ms; longer while a thread that
 *          publishes or receives is stopped inside its call.
 * Returns: 0: every message that was in no final state when this was called is confirmed now. What
 *          was in doubt or failed before does not count: the ledgers tell of it.
 *          ROULETTE_ETIMEDOUT: some of them are not, because there was no time or no server, and
 * the ledgers say what became of them; ROULETTE_EPERMISSION: as from roulette_flush();
 *          ROULETTE_EINVAL; ROULETTE_ECLOSED (it already was).
 */
int roulette_close(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count);

/**
 * Give the client up. Closes it first, with no wait, if that was not done. The memory goes when
 * its last subscriber and topic are gone too. NULL is allowed.
 *
 * Threads: any thread; no other thread may use the client any more.
 */
void roulette_free(roulette_client *client);

/** The number of clusters, or ROULETTE_EINVAL. Threads: any thread. */
int roulette_cluster_count(const roulette_client *client);

/**
 * The index of the cluster that carries a topic (or that a literal subscription is made on).
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: the index; ROULETTE_EINVAL, ROULETTE_ETOPIC, ROULETTE_EWILDCARD.
 */
int roulette_cluster_of(const roulette_client *client, const char *topic, size_t topic_len);

/** The address of a cluster as "host:port", without credentials; NULL if out of range (then
 *  roulette_last_error() says so). Threads: any thread. Does not block or allocate. */
const char *roulette_cluster_address(const roulette_client *client, size_t cluster);

/**
 * Why a cluster is not connected, or has fewer connections than pool_size: one sentence, such as
 *
 *     cluster 1 (nats.example:4222) is not connected: connect() to 10.0.0.7:4222 has failed:
 *     Connection refused (nothing listens there: start the server, or correct the address)
 *
 * `text` takes up to `size` bytes with the NUL, "" where the call returns 0; 1024 are enough for
 * each. It may be NULL with `size` 0.
 *
 * Threads: any thread. Does not block or allocate. Works after roulette_close() too.
 * Returns: 0: all connections are established; otherwise why the last attempt or connection ended,
 *          as roulette_stats.last_error: ROULETTE_ECONNECT, ROULETTE_ERESOLVE, ROULETTE_EAUTH,
 *          ROULETTE_ETLS and others; ROULETTE_EDISCONNECTED also while the first attempt is under
 *          way. ROULETTE_EINVAL (there is no such client or cluster: `text` is untouched).
 */
int roulette_cluster_error(const roulette_client *client, size_t cluster, char *text, size_t size);

/**
 * Wait until everything that was published and subscribed before the call has been processed by
 * the servers: a PING fence on each connection. A cluster that is not connected, or not any more,
 * is waited for until max_retry attempts have failed. Then no message is left that it could answer:
 * the flush ends with the last message's final state, whatever the timeout is, and a flush that
 * begins later ends at once. Subscriptions that the cluster is to be told of stay, and are made
 * when it comes.
 *
 * `ledgers`, if not NULL, takes the ledger of the first `count` clusters, also with
 * ROULETTE_ETIMEDOUT, _EDISCONNECTED, _EUNREACHABLE and _EPERMISSION.
 *
 * Threads: any thread, not a log callback. Allocates; blocks up to the deadline.
 * Returns: 0; ROULETTE_ETIMEDOUT; ROULETTE_EDISCONNECTED (a connection was lost meanwhile, see
 *          in_doubt); ROULETTE_EUNREACHABLE (a cluster was away for max_retry attempts, see failed
 *          and in_doubt); ROULETTE_EPERMISSION (all is processed, but the server refused messages
 *          of which no flush has told before, see denied: roulette_last_error() names the cluster
 *          and the last topic); ROULETTE_ECLOSED; ROULETTE_EINVAL; ROULETTE_ENOMEM. The other
 *          clusters are waited for in any case. roulette_last_error() names the first cluster that
 *          was waited for in vain, and why; roulette_cluster_error() tells it of each.
 */
int roulette_flush(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count);

/**
 * As roulette_flush(), of one cluster: the others are neither waited for nor a reason to fail.
 *
 * `ledger`, if not NULL, takes that cluster's ledger, where roulette_flush() does.
 *
 * Threads: as roulette_flush(). Returns: as roulette_flush(); ROULETTE_EINVAL (no such cluster).
 */
int roulette_flush_cluster(roulette_client *client, size_t cluster, int timeout_ms,
                           struct roulette_ledger *ledger);

/* ---- Publish ------------------------------------------------------------------------------ */

/**
 * Publish a message. 0 means accepted into the queue of the topic's cluster, nothing more: see
 * struct roulette_ledger for what can become of it. Order is kept per (thread, topic), except
 * that a message in doubt may arrive behind later ones: a server reads a lost connection to its
 * end beside the new one. What is published without a pause may wait for company, 0.6 ms at most;
 * roulette_flush() ends that.
 *
 * Threads: any thread; never blocks. Makes a system call only while the cluster's event thread
 *          sleeps: it sends what is queued, without waiting for the kernel, or wakes that thread.
 *          Allocates once per thread, client and connection, at the first publish. Not from a
 *          signal handler.
 * Returns: 0; ROULETTE_EAGAIN (the queue is full: wait, or use roulette_publish_wait());
 *          ROULETTE_ETOPIC, ROULETTE_EWILDCARD, ROULETTE_EPAYLOAD, ROULETTE_EINVAL (correct the
 *          call); ROULETTE_EUNREACHABLE (max_retry attempts have failed; it goes on trying);
 *          ROULETTE_EROLE; ROULETTE_ECLOSED; ROULETTE_ENOMEM.
 */
int roulette_publish(roulette_client *client, const char *topic, size_t topic_len,
                     const void *payload, size_t payload_len);

/**
 * As roulette_publish(), but wait up to `timeout_ms` for room in the queue.
 *
 * Returns: also ROULETTE_ETIMEDOUT; never ROULETTE_EAGAIN.
 */
int roulette_publish_wait(roulette_client *client, const char *topic, size_t topic_len,
                          const void *payload, size_t payload_len, int timeout_ms);

/**
 * As roulette_publish_wait(), with a reply topic that the receiver sees as message.reply.
 * `timeout_ms` 0 returns ROULETTE_EAGAIN at once when the queue is full.
 *
 * If nobody listens to `topic`, nothing comes back: servers are told not to send the status 503
 * ("no responders"). A message with such a header was published by somebody.
 */
int roulette_publish_reply(roulette_client *client, const char *topic, size_t topic_len,
                           const char *reply, size_t reply_len, const void *payload,
                           size_t payload_len, int timeout_ms);

/**
 * Validate, hash and place a topic once.
 *
 * Ownership: roulette_topic_free() ends it.
 * Threads:   any thread; the handle may be used by any number of threads at once. Allocates.
 * Returns:   0; ROULETTE_EINVAL, ROULETTE_ETOPIC, ROULETTE_EWILDCARD, ROULETTE_ECLOSED,
 *            ROULETTE_ENOMEM.
 */
int roulette_topic_create(roulette_client *client, const char *topic, size_t topic_len,
                          roulette_topic **handle);

/** End a topic handle. NULL is allowed. Threads: any thread; no other may use it any more. */
void roulette_topic_free(roulette_topic *handle);

/** The cluster of a topic handle. Threads: any thread. */
int roulette_topic_cluster(const roulette_topic *handle);

/** roulette_publish() to a topic handle. Errors as there, without those of the topic. */
int roulette_topic_publish(roulette_topic *handle, const void *payload, size_t payload_len);

/** roulette_publish_wait() to a topic handle. */
int roulette_topic_publish_wait(roulette_topic *handle, const void *payload, size_t payload_len,
                                int timeout_ms);

/* ---- Subscribe and receive ---------------------------------------------------------------- */

/** What an entry that roulette_receive() returned is. Grows at the end: pass over what you do not
 *  know. */
enum roulette_kind {
    ROULETTE_KIND_MESSAGE = 0,
    /** Messages of this subscriber and cluster were dropped here; `count` says how many, `bounds`
     *  what they did not fit into. */
    ROULETTE_KIND_DROPPED = 1,
    /** The subscription's connection was lost; it will be restored. `error` says why. */
    ROULETTE_KIND_LOST = 2,
    /** The subscription is live again; messages may be missing before this point. */
    ROULETTE_KIND_RESTORED = 3,
    /** The subscription is over; `error` says why: ROULETTE_ECLOSED if the client was closed, 0 if
     *  it was drained or has had max_messages. The handle dies with the next receive. */
    ROULETTE_KIND_ENDED = 4,
    /**
     * A server of `cluster` answered an attempt to connect and did not let this client in, or the
     * client has no login to give; `error` says why: ROULETTE_EAUTH, ROULETTE_ETLS,
     * ROULETTE_ESERVER (too many connections), ROULETTE_ESYSTEM (the credentials cannot be read)
     * and others. The client goes on trying. Told once for each reason until a connection of the
     * cluster succeeds, to each subscriber that has ever subscribed there: also after its
     * temporary subscriptions have ended, since a server that has removed a user closes without a
     * word (ROULETTE_EDISCONNECTED), and says the reason when the client comes back.
     */
    ROULETTE_KIND_REFUSED = 5,
};

/** What a message did not fit into. Grows at the end. */
enum roulette_bound {
    /** The subscriber's ring_slots: receive sooner, or more at a time; or raise it. */
    ROULETTE_BOUND_RING_SLOTS = 1,
    /** The subscriber's pinned_bytes: release sooner, or raise it. */
    ROULETTE_BOUND_PINNED_BYTES = 2,
    /** The client's slab_count: messages that were not released hold all of the cluster's slabs. */
    ROULETTE_BOUND_SLAB_COUNT = 4,
    /** A quarter of the slabs, the most that a message may have: raise slab_bytes or slab_count. */
    ROULETTE_BOUND_MESSAGE_LEN = 8,
    /** max_messages of a member of a queue group: see there. */
    ROULETTE_BOUND_MAX_MESSAGES = 16,
};

/**
 * A received message or notice. The pointers lead into receive memory: read-only, valid until
 * roulette_release().
 */
struct roulette_message {
    enum roulette_kind kind;
    uint32_t cluster;    /**< index of the cluster it came from */
    const char *topic;   /**< as published; not NUL-terminated; NULL in a notice */
    const char *reply;   /**< NULL if none */
    const char *headers; /**< the block from "NATS/1.0" to the empty line; NULL if none */
    const void *payload; /**< not NULL in a message, also when its length is 0 */
    uint32_t topic_len;
    uint32_t reply_len;
    uint32_t headers_len;
    uint32_t payload_len;
    roulette_subscription *subscription; /**< NULL in ROULETTE_KIND_DROPPED and _REFUSED */
    void *user_data;                     /**< as given to roulette_subscribe() */
    uint64_t count;                      /**< ROULETTE_KIND_DROPPED: how many */
    int error;                           /**< ROULETTE_KIND_LOST, _ENDED and _REFUSED: why */
    uint32_t bounds;                     /**< ROULETTE_KIND_DROPPED: why, as bits of
                                              enum roulette_bound */
    void *internal;                      /**< the library's */
    uint64_t reserved[4];                /**< 0 */
};

/**
 * Open a subscriber: the receiving end of one application thread.
 *
 * `options` NULL means the defaults.
 *
 * Ownership: roulette_subscriber_close() ends it.
 * Threads:   any thread. The thread that uses it from here on is its owner thread; ownership may
 *            be handed to another thread, but two threads never use it at once. Allocates.
 * Returns:   0; ROULETTE_EINVAL, ROULETTE_ECLOSED, ROULETTE_ENOMEM, ROULETTE_ESYSTEM.
 */
int roulette_subscriber_open(roulette_client *client,
                             const struct roulette_subscriber_options *options,
                             roulette_subscriber **subscriber);

/**
 * End all subscriptions of a subscriber without losing what is on its way: the servers are told
 * first, what they had sent by then arrives, and behind it a ROULETTE_KIND_ENDED (error 0) for
 * each subscription.
 *
 * Threads: the owner thread. Waits for the servers, at most `timeout_ms`; not for one that is away:
 *          nothing is on its way from it. What arrives meanwhile waits in the subscriber's rings,
 * up to their bound. Returns: 0; ROULETTE_ETIMEDOUT, ROULETTE_EDISCONNECTED (messages on their way
 * may be missing); ROULETTE_ECLOSED, ROULETTE_EINVAL, ROULETTE_ENOMEM. The subscriptions end in any
 * case.
 */
int roulette_subscriber_drain(roulette_subscriber *subscriber, int timeout_ms);

/**
 * End all subscriptions of a subscriber and the subscriber. Entries received and not released
 * become invalid: release them first. Make a thread that waits in roulette_receive() return before,
 * by roulette_subscriber_wake(). NULL is allowed.
 *
 * Threads: the owner thread. Waits for each event thread to take note, without the network.
 */
void roulette_subscriber_close(roulette_subscriber *subscriber);

/**
 * A descriptor for poll(), epoll or an event loop: from this call on it is readable as long as
 * there is something to receive, or the client is closed. Only poll it; never read or close it.
 *
 *     struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
 *     epoll_ctl(epoll, EPOLL_CTL_ADD, roulette_subscriber_fd(subscriber), &event);
 *     for (;;) {
 *         if (epoll_wait(epoll, &event, 1, -1) != 1) {
 *             continue; // a signal
 *         }
 *         int count = roulette_receive(event.data.ptr, messages, 64, 0);
 *         if (count < 0) {
 *             break; // the client is closed
 *         }
 *         // ... use messages[0] to messages[count - 1]; count may be 0 ...
 *         roulette_release(event.data.ptr, messages, (size_t)count);
 *     }
 *
 * Level-triggered, edge-triggered (EPOLLET) or one-shot: one receive for each wake-up is enough, of
 * one message too, because a receive that leaves something signals the descriptor again. That costs
 * a system call for each such receive, and taking the last message costs one too, so receive many
 * at a time. A subscriber whose descriptor was never asked for pays for none of it. Now and then
 * the descriptor is readable for something that receiving settles by itself: it returns 0 then.
 *
 * Ownership: the subscriber's.
 * Threads:   the owner thread; when it was asked for before, any thread.
 * Returns:   the descriptor; ROULETTE_EINVAL; ROULETTE_EFORKED.
 */
int roulette_subscriber_fd(roulette_subscriber *subscriber);

/**
 * Make a thread that waits in roulette_receive() return 0, as if its deadline had passed, so that
 * it can look at what has changed: that it is to end, for example. Close a subscriber only when
 * that thread has returned.
 *
 * If nobody waits, the next receive that finds nothing returns 0 at once. A receive that finds
 * messages returns them, and the wake stays for the next one. Several wakes before that count as
 * one. If the descriptor was asked for, it is readable until then.
 *
 * Threads: any thread, or a signal handler, while the subscriber is not closed. Does not block or
 *          allocate; makes a system call.
 * Returns: 0; ROULETTE_EINVAL; ROULETTE_EFORKED.
 */
int roulette_subscriber_wake(roulette_subscriber *subscriber);

/**
 * Subscribe to a topic. `*` matches one token and `>` the rest; a topic with a wildcard is
 * subscribed on every cluster. Any number of subscribers of one topic in a client cost the
 * server one subscription and the network one copy.
 *
 * Returns before the server knows: a message that the same thread publishes afterwards arrives;
 * for one that others publish, and for a wildcard with a pool_size above 1, whose messages may
 * take another connection than the subscription, roulette_flush() first.
 *
 * A server may close the connection for it, such as one with a small max_control_line:
 * which one it is takes at most 11 reconnects to find out (see ROULETTE_AT_LEAST_ONCE), then a
 * permanent one ends with ROULETTE_ETOPIC (the server said that it is too long) or ROULETTE_ESERVER
 * and is not made again; a temporary one has ended with the first connection.
 *
 * A server that refuses it ends it, with ROULETTE_KIND_ENDED and ROULETTE_EPERMISSION,
 * ROULETTE_ETOPIC or ROULETTE_ESERVER (too many subscriptions). It is always known which one is
 * refused, also where the server does not say: then it is asked about each one that it may have
 * meant. If its limit changes at that moment, or subscriptions are left that it has not confirmed,
 * what is in doubt is made again: a gap that ROULETTE_KIND_LOST (ROULETTE_ESERVER) and _RESTORED
 * tell, and that ends a temporary subscription. One case is not an answer: a server whose limit is
 * lowered says so to those above it and closes their connections. A subscription that it has not
 * confirmed at that moment may end, where others wait for the next connection.
 *
 * `user_data` comes back in each message. `subscription` may be NULL.
 *
 * Ownership: the handle is the subscriber's; it dies with roulette_unsubscribe(), with the
 *            receive that follows ROULETTE_KIND_ENDED, or with the subscriber.
 * Threads:   the owner thread. Allocates; does not block.
 * Returns:   0; ROULETTE_EEXIST (already subscribed; `*subscription` is set to the existing
 *            handle); ROULETTE_EBUSY (65,536 subscriptions of this subscriber are over, or as many
 *            as it ever had at a time if that is more, and cannot be given back before
 *            roulette_receive() has taken what waits in front of their ends: receive);
 *            ROULETTE_ETOPIC, ROULETTE_EINVAL, ROULETTE_ECLOSED, ROULETTE_EROLE, ROULETTE_ENOMEM.
 */
int roulette_subscribe(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                       void *user_data, roulette_subscription **subscription);

/** How to subscribe. Fill with roulette_subscription_options_init(). */
struct roulette_subscription_options {
    size_t size;     /**< set by roulette_subscription_options_init() */
    void *user_data; /**< comes back in each message */
    /**
     * NULL, or the name of a queue group: of all its members, wherever they are, one receives
     * each message. With a wildcard, the group exists on every cluster; still one member
     * receives each message.
     */
    const char *queue_group;
    /**
     * 0, or after how many messages the subscription ends (with ROULETTE_KIND_ENDED, error 0).
     * Counted by the client, over all clusters and reconnects; what was dropped does not count.
     *
     * In a queue group the servers are told too: a server sends no more, and the other members get
     * the rest. With one cluster none is lost. With a wildcard over several clusters each is told
     * what is left of the whole, so when the last message comes from one, others may have sent
     * more until they hear of it: lost to the group, and counted in dropped_limit and unknown_sid
     * of the statistics. The same while a connection moves off a lame duck.
     */
    uint64_t max_messages;
    /** Not 0: return when the servers know of it, at the latest after this time; negative: no
     *  deadline, however long a server is away. 0: return at once. If some of the clusters of a
     *  wildcard are away, it is live on the others then. */
    int timeout_ms;
    uint32_t reserved; /**< leave it as the init function made it */
};

/** As roulette_options_fill() and roulette_options_init(). */
void roulette_subscription_options_fill(struct roulette_subscription_options *options);
static inline void roulette_subscription_options_init(struct roulette_subscription_options *options)
{
    if (options != NULL) {
        options->size = sizeof(*options);
        roulette_subscription_options_fill(options);
    }
}

/**
 * As roulette_subscribe(), with options.
 *
 * Threads: the owner thread. Allocates; blocks only if options->timeout_ms is not 0.
 * Returns: as roulette_subscribe() (the same topic in another queue group is another
 *          subscription), and when waiting ROULETTE_ETIMEDOUT, ROULETTE_EDISCONNECTED,
 *          ROULETTE_EPERMISSION, ROULETTE_ETOPIC or ROULETTE_ESERVER (refused by a server: not
 *          permitted, a topic that it does not take, too many subscriptions). When it fails,
 *          nothing stays subscribed, on no cluster.
 *          > 0, with a wildcard and when waiting: so many clusters have not answered in time; the
 *          subscription is live on the others, and will be on these when they come.
 *          roulette_last_error() names the first of them, and why.
 */
int roulette_subscribe_with(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                            const struct roulette_subscription_options *options,
                            roulette_subscription **subscription);

/**
 * End a subscription by its handle. Nothing of it is received afterwards. Its memory is given back
 * by a later call on the subscriber: to receive, to subscribe or to unsubscribe. Entries that were
 * received before, in the same batch or an older one, still belong to it until they are released:
 * they carry its `user_data`, which must live so long, and its handle, which may be compared but
 * not used.
 *
 * Threads: the owner thread. Does not block.
 * Returns: 0; ROULETTE_ENOENT (it is not a live subscription of this subscriber), ROULETTE_EINVAL.
 */
int roulette_unsubscribe(roulette_subscriber *subscriber, roulette_subscription *subscription);

/**
 * End a subscription by its topic. As roulette_unsubscribe(). A subscription in a queue group is
 * ended by its handle.
 */
int roulette_unsubscribe_topic(roulette_subscriber *subscriber, const char *topic,
                               size_t topic_len);

/**
 * Receive up to `count` messages and notices, in order per cluster. Waits up to `timeout_ms`
 * for the first one and takes whatever is there then.
 *
 * Ownership: each entry whose kind is ROULETTE_KIND_MESSAGE must be given to roulette_release();
 *            notices may be.
 * Threads:   the owner thread. Does not allocate. Makes a system call only to wait, and then
 *            perhaps to receive by itself.
 * Returns:   how many; 0 if there was nothing until the deadline or until
 *            roulette_subscriber_wake(); ROULETTE_EINVAL;
 *            ROULETTE_ECLOSED (the client is closed and everything delivered was received).
 */
int roulette_receive(roulette_subscriber *subscriber, struct roulette_message *messages,
                     size_t count, int timeout_ms);

/**
 * Release messages obtained from roulette_receive() or roulette_message_copy(), in any order and
 * any grouping. A second release, also through a copy of the struct, and one to another subscriber
 * end the process (a second one at the latest when more were released of a slab than received).
 *
 * Ownership: ends the caller's references; topic, reply, headers and payload die with them.
 * Threads:   the owner thread. Does not block or allocate; makes a system call only if the
 *            event thread ran out of receive memory and sleeps.
 */
void roulette_release(roulette_subscriber *subscriber, struct roulette_message *messages,
                      size_t count);

/**
 * Copy a message out of receive memory, for holding it long. The copy may be used and released
 * by any thread (with `subscriber` NULL), and outlives the subscriber and the client.
 *
 * Ownership: the caller's; roulette_release() ends it. The original is still to be released.
 * Threads:   any thread that may read `message`. Allocates.
 * Returns:   0; ROULETTE_EINVAL (not a message), ROULETTE_ENOMEM.
 */
int roulette_message_copy(const struct roulette_message *message, struct roulette_message *copy);

/* ---- Statistics --------------------------------------------------------------------------- */

/**
 * Read the statistics of one cluster, `stats->size` bytes of them. For programs that cannot call
 * the inline roulette_stats_get(): they set `size` themselves before.
 *
 * Threads: any thread. Does not block or allocate. Works after roulette_close() too.
 * Returns: 0; ROULETTE_EINVAL.
 */
int roulette_stats_fill(const roulette_client *client, size_t cluster,
                        struct roulette_stats *stats);

/**
 * Read the statistics of one cluster. Works after roulette_close() too. Sets `stats->size`, also
 * where it fails.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: 0; ROULETTE_EINVAL.
 */
static inline int roulette_stats_get(const roulette_client *client, size_t cluster,
                                     struct roulette_stats *stats)
{
    if (stats != NULL) {
        stats->size = sizeof(*stats);
    }
    return roulette_stats_fill(client, cluster, stats);
}

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif /* ROULETTE_H */
