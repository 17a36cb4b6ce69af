/* Datagrams of many sockets in one call from Python: what `compiled_sockets` uses. Either one system call each (`receive`,
 * `transmit`), or one for all of them through io_uring (`ring_*`), where the kernel has it (6.1 and later) and allows it.
 *
 * It knows file descriptors and memory, no RTP and no Python: no header of Python's is needed to build it. It is called with
 * the interpreter lock held, and nothing in it blocks (MSG_DONTWAIT). The numbers of `abi` change whenever a layout or
 * a signature here does; a library that another source left behind is then not used. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if defined(__has_include) && __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define ABI 3

/* The arrays that `receive` writes; one element or row per datagram taken. */
struct inbox {
    uint8_t *shorts;    /* [B, short_bytes] the first octets */
    uint8_t *rests;     /* [B, rest_bytes] what is beyond them: plain calls never touch it */
    uint64_t *sources;  /* [B] first eight octets of the source's sockaddr_in */
    int64_t *stamps;    /* [B] the kernel's time of arrival, CLOCK_REALTIME in ns */
    int64_t *lengths;   /* [B] of the datagram as it was sent, also when it did not fit */
    int64_t *whose;     /* [B] place in `fds` */
    int64_t short_bytes, rest_bytes;
};

/* The packets that `transmit` sends; indexed by row. */
struct outbox {
    const uint8_t *packets;      /* [L, stride] */
    const uint64_t *addresses;   /* [L, 2] sockaddr_in */
    const uint8_t *connected;    /* [L] no address is needed */
    int64_t stride, bytes;
};

EXPORT int abi(void) { return ABI; }

#define RECEIVE_FLAGS (MSG_DONTWAIT | MSG_TRUNC)
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct timespec))

/* Where one datagram goes. */
struct slot {
    struct msghdr header;
    struct iovec parts[2];
    uint64_t name[2];
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
};

static void prepare(struct slot *slot, const struct inbox *in, int64_t place) {
    slot->parts[0] = (struct iovec){in->shorts + place * in->short_bytes, in->short_bytes};
    slot->parts[1] = (struct iovec){in->rests + place * in->rest_bytes, in->rest_bytes};
    slot->name[0] = 0;
    slot->header = (struct msghdr){
        .msg_name = slot->name, .msg_namelen = sizeof slot->name, .msg_iov = slot->parts, .msg_iovlen = 2,
        .msg_control = slot->control, .msg_controllen = sizeof slot->control,
    };
}

static int64_t stamp_of(struct msghdr *header) {
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    struct timespec time;
    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SO_TIMESTAMPNS) return 0;
    memcpy(&time, CMSG_DATA(part), sizeof time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void keep(struct inbox *in, int taken, struct slot *slot, int64_t length, int whose) {
    in->sources[taken] = slot->name[0];
    in->stamps[taken] = stamp_of(&slot->header);
    in->lengths[taken] = length;
    in->whose[taken] = whose;
}

/* An ICMP error of an earlier send is told once, the datagrams are behind it: a socket that fails is asked again. */
static int64_t ask(int fd, struct slot *slot, const struct inbox *in, int place) {
    prepare(slot, in, place);
    ssize_t length = recvmsg(fd, &slot->header, RECEIVE_FLAGS);
    if (length >= 0 || errno == EAGAIN) return length;
    return recvmsg(fd, &slot->header, RECEIVE_FLAGS);
}

/* At most one datagram of each socket; how many came. */
EXPORT int receive(struct inbox *in, const int32_t *fds, int count) {
    struct slot slot;
    int taken = 0;
    for (int i = 0; i < count; i++) {
        const int64_t length = ask(fds[i], &slot, in, taken);
        if (length >= 0) keep(in, taken++, &slot, length, i);
    }
    return taken;
}

static int send_one(const struct outbox *out, int64_t row, int fd) {
    const void *to = out->connected[row] ? NULL : out->addresses + 2 * row;
    return sendto(fd, out->packets + row * out->stride, out->bytes, SEND_FLAGS, to, to ? 16 : 0) < 0;
}

/* One packet of each row; how many were not sent. */
EXPORT int transmit(const struct outbox *out, const int64_t *rows, const int32_t *fds, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) failed += send_one(out, rows[i], fds[i]);
    return failed;
}

/* --- recordings: called without the interpreter lock, for a disk may block */

#define FRAMES 64

/* Sound of `count` files: the frame at `frames[t]` + `index[i]` * `frame_bytes` for every t below `rounds`, one behind the other
 * from `at[i]` on. `written[i]`: octets, or -1 and nothing. */
EXPORT void write_frames(const int32_t *fds, const int64_t *at, const int64_t *index, int count, const uint64_t *frames,
                         int rounds, int64_t frame_bytes, int64_t *written) {
    for (int i = 0; i < count; i++) {
        written[i] = rounds <= FRAMES ? 0 : -1;
        struct iovec parts[FRAMES];
        for (int t = 0; t < rounds && rounds <= FRAMES; t++)
            parts[t] = (struct iovec){(void *)(uintptr_t)(frames[t] + index[i] * frame_bytes), frame_bytes};
        if (rounds <= FRAMES) written[i] = pwritev(fds[i], parts, rounds, at[i]);
    }
}

/* The first `bytes` octets of `count` files, from [count, bytes]; how many files did not take them. */
EXPORT int write_heads(const int32_t *fds, const uint8_t *heads, int64_t bytes, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) failed += pwrite(fds[i], heads + i * bytes, bytes, 0) != bytes;
    return failed;
}

/* --- datagrams through io_uring: requests are written into shared memory, one system call has them all carried out.
 * MSG_DONTWAIT makes every request complete within that call. Layout and order of memory accesses: io_uring(7). */

#if defined(IORING_SETUP_DEFER_TASKRUN) && defined(SYS_io_uring_setup)

#define ENTRIES 1024

struct ring {
    int fd;
    char *shared;
    size_t shared_bytes;
    struct io_uring_sqe *requests;
    uint32_t *head, *tail, *order, mask;
    uint32_t *done_head, *done_tail, done_mask;
    struct io_uring_cqe *done;
    struct slot slots[ENTRIES];
};

EXPORT void ring_close(struct ring *ring) {
    if (ring->requests) munmap(ring->requests, ENTRIES * sizeof *ring->requests);
    if (ring->shared) munmap(ring->shared, ring->shared_bytes);
    close(ring->fd);
    free(ring);
}

static void *map(int fd, size_t bytes, off_t offset) {
    void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    return found == MAP_FAILED ? NULL : found;
}

/* NULL where there is none. Only the thread that opens a ring may use it. */
EXPORT struct ring *ring_open(void) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    };
    const int fd = syscall(SYS_io_uring_setup, ENTRIES, &params);
    if (fd < 0) return NULL;
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring) {
        close(fd);
        return NULL;
    }
    const size_t asked = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
    const size_t answered = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    ring->fd = fd;
    ring->shared_bytes = asked > answered ? asked : answered;
    ring->shared = params.features & IORING_FEAT_SINGLE_MMAP ? map(fd, ring->shared_bytes, IORING_OFF_SQ_RING) : NULL;
    ring->requests = map(fd, ENTRIES * sizeof *ring->requests, IORING_OFF_SQES);
    if (!ring->shared || !ring->requests || params.sq_entries != ENTRIES) {
        ring_close(ring);
        return NULL;
    }
    ring->head = (uint32_t *)(ring->shared + params.sq_off.head);
    ring->tail = (uint32_t *)(ring->shared + params.sq_off.tail);
    ring->mask = *(uint32_t *)(ring->shared + params.sq_off.ring_mask);
    ring->order = (uint32_t *)(ring->shared + params.sq_off.array);
    ring->done_head = (uint32_t *)(ring->shared + params.cq_off.head);
    ring->done_tail = (uint32_t *)(ring->shared + params.cq_off.tail);
    ring->done_mask = *(uint32_t *)(ring->shared + params.cq_off.ring_mask);
    ring->done = (struct io_uring_cqe *)(ring->shared + params.cq_off.cqes);
    for (uint32_t i = 0; i < ENTRIES; i++) ring->order[i] = i;
    return ring;
}

/* The next place for a request; the ring is empty before every batch. */
static struct io_uring_sqe *request(struct ring *ring, int number, int opcode, int fd, int flags) {
    struct io_uring_sqe *sqe = &ring->requests[(*ring->tail + number) & ring->mask];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->msg_flags = flags;
    sqe->user_data = number;
    return sqe;
}

/* Has `count` requests carried out; how many the kernel took. Those it did not take are withdrawn. */
static int carry_out(struct ring *ring, int count) {
    const uint32_t begin = *ring->tail;
    __atomic_store_n(ring->tail, begin + count, __ATOMIC_RELEASE);
    int taken = 0;
    while (taken < count) {
        const int more = syscall(SYS_io_uring_enter, ring->fd, count - taken, count - taken, IORING_ENTER_GETEVENTS, NULL, 0);
        if (more > 0) taken += more;
        else if (more == 0 || errno != EINTR) break;
    }
    if (taken < count) __atomic_store_n(ring->tail, begin + taken, __ATOMIC_RELEASE);
    return taken;
}

/* The results of `count` requests, by number, in the slots' places. */
static void results(struct ring *ring, int count, int32_t *found) {
    uint32_t head = *ring->done_head;
    for (int left = count; left > 0;) {
        const uint32_t tail = __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE);
        if (head == tail && syscall(SYS_io_uring_enter, ring->fd, 0, left, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
            break;
        for (; head != tail; head++, left--) {
            const struct io_uring_cqe *cqe = &ring->done[head & ring->done_mask];
            found[cqe->user_data] = cqe->res;
        }
    }
    __atomic_store_n(ring->done_head, head, __ATOMIC_RELEASE);
}

static int receive_some(struct ring *ring, struct inbox *in, const int32_t *fds, int from, int count, int taken) {
    int32_t found[ENTRIES];
    for (int i = 0; i < count; i++) {
        prepare(&ring->slots[i], in, taken + i);
        struct io_uring_sqe *sqe = request(ring, i, IORING_OP_RECVMSG, fds[i], RECEIVE_FLAGS);
        sqe->addr = (uintptr_t)&ring->slots[i].header;
        sqe->len = 1;
        found[i] = -EAGAIN;
    }
    results(ring, carry_out(ring, count), found);
    int kept = taken;
    for (int i = 0; i < count; i++) {
        struct slot *slot = &ring->slots[i];
        int64_t length = found[i];
        if (length < 0 && length != -EAGAIN) length = ask(fds[i], slot, in, taken + i);
        if (length < 0) continue;
        if (kept != taken + i) { /* no holes: what came after one that had nothing moves up */
            memcpy(in->shorts + kept * in->short_bytes, slot->parts[0].iov_base, in->short_bytes);
            if (length > in->short_bytes) memcpy(in->rests + kept * in->rest_bytes, slot->parts[1].iov_base, in->rest_bytes);
        }
        keep(in, kept++, slot, length, from + i);
    }
    return kept;
}

EXPORT int ring_receive(struct ring *ring, struct inbox *in, const int32_t *fds, int count) {
    int taken = 0;
    for (int from = 0; from < count; from += ENTRIES)
        taken = receive_some(ring, in, fds + from, from, count - from < ENTRIES ? count - from : ENTRIES, taken);
    return taken;
}

static int transmit_some(struct ring *ring, const struct outbox *out, const int64_t *rows, const int32_t *fds, int count) {
    int32_t found[ENTRIES];
    int asked = 0, failed = 0;
    for (int i = 0; i < count; i++) {
        if (!out->connected[rows[i]]) { /* until its caller's first packet */
            failed += send_one(out, rows[i], fds[i]);
            continue;
        }
        struct io_uring_sqe *sqe = request(ring, asked, IORING_OP_SEND, fds[i], SEND_FLAGS);
        sqe->addr = (uintptr_t)(out->packets + rows[i] * out->stride);
        sqe->len = out->bytes;
        found[asked++] = -EAGAIN;
    }
    results(ring, carry_out(ring, asked), found);
    for (int i = 0; i < asked; i++) failed += found[i] < 0;
    return failed;
}

EXPORT int ring_transmit(struct ring *ring, const struct outbox *out, const int64_t *rows, const int32_t *fds, int count) {
    int failed = 0;
    for (int from = 0; from < count; from += ENTRIES)
        failed += transmit_some(ring, out, rows + from, fds + from, count - from < ENTRIES ? count - from : ENTRIES);
    return failed;
}

#else

EXPORT void *ring_open(void) { return NULL; }

#endif
