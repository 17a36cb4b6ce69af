/* One system call per datagram, many datagrams per call from Python: what `compiled_sockets` uses.
 *
 * It knows file descriptors and memory, no RTP and no Python: no header of Python's is needed to build it. It is called with
 * the interpreter lock held, and nothing in it blocks (MSG_DONTWAIT). The numbers of `abi` change whenever a layout or
 * a signature here does; a library that another source left behind is then not used. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define ABI 1

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

static int64_t stamp_of(struct msghdr *header) {
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    struct timespec time;
    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SO_TIMESTAMPNS) return 0;
    memcpy(&time, CMSG_DATA(part), sizeof time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* At most one datagram of each socket; how many came. */
EXPORT int receive(struct inbox *in, const int32_t *fds, int count) {
    int taken = 0;
    for (int i = 0; i < count; i++) {
        uint64_t name[2] = {0, 0};
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
        struct iovec parts[2] = {
            {in->shorts + taken * in->short_bytes, in->short_bytes},
            {in->rests + taken * in->rest_bytes, in->rest_bytes},
        };
        struct msghdr header = {
            .msg_name = name, .msg_namelen = sizeof name, .msg_iov = parts, .msg_iovlen = 2,
            .msg_control = control, .msg_controllen = sizeof control,
        };
        ssize_t length = recvmsg(fds[i], &header, MSG_DONTWAIT | MSG_TRUNC);
        if (length < 0 && errno != EAGAIN) /* an ICMP error of an earlier send: told once, the datagrams are behind it */
            length = recvmsg(fds[i], &header, MSG_DONTWAIT | MSG_TRUNC);
        if (length < 0) continue;
        in->sources[taken] = name[0];
        in->stamps[taken] = stamp_of(&header);
        in->lengths[taken] = length;
        in->whose[taken] = i;
        taken++;
    }
    return taken;
}

/* One packet of each row; how many were not sent. */
EXPORT int transmit(const struct outbox *out, const int64_t *rows, const int32_t *fds, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        const int64_t row = rows[i];
        const void *to = out->connected[row] ? NULL : out->addresses + 2 * row;
        const ssize_t sent = sendto(fds[i], out->packets + row * out->stride, out->bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
                                    to, to ? 16 : 0);
        failed += sent < 0;
    }
    return failed;
}
