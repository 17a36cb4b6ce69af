/* The callers: N RTP streams of 20 ms packets, spread evenly over the 20 ms, each from a socket of its own.
 *
 * usage: load BASE_PORT STEP N SECONDS SOURCE_PORT [KEY=VALUE ...]
 * sends from 127.0.0.2:SOURCE_PORT + 2 * i to 127.0.0.1:BASE_PORT + STEP * i. Keys (and what they are without):
 *   type=0 ticks=160 rate=8000   payload type, clock units per packet, clock rate
 *   payloads=FILE                packets' payloads, each behind its length (16 bit, little-endian); stream i begins at another
 *                                place; without: one loud payload of 160 octets
 *   loss=0 jitter=0 reorder=0    per cent lost; ms of even extra delay; per cent that come 30 ms late, behind their successors
 *   burst=0                      ms for which all packets of a stream are held back once in 5 s, then delivered at once
 *   seed=1
 *
 * It prints one line of JSON: sent (handed to the network, lost ones included), dropped (lost here on purpose), received,
 * gaps (packets missing in the returned streams), late (own wake-ups more than 5 ms late), cpu_s, and the RFC 3550 jitter of the
 * returned streams in ms: one sample of every stream's running figure per second, from kernel times of arrival. Packets that
 * arrive in or shortly after a late wake-up take no part in the jitter: the machine stood still, or this program did. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SLICES 10                 /* of the 20 ms */
#define SLICE_NS 2000000LL
#define AHEAD 256                 /* slices a packet can be held back */
#define LATE_NS 5000000LL
#define SETTLE_NS 45000000LL      /* after a late wake-up */
#define PAYLOAD_BYTES 1920

struct packet { int stream; uint32_t number; };
struct bucket { struct packet *packets; int count, room; };
struct stream {
    int fd;
    uint32_t highest, received;   /* extended sequence numbers of what comes back */
    int begun;
    int64_t arrived;              /* of the packet before; 0: none to compare with */
    uint32_t stamp, ssrc;
    double jitter;                /* RFC 3550 section 6.4.1, in ns */
    int64_t held_from, held_until;
};

static struct bucket buckets[AHEAD];
static struct stream *streams;
static int base, step, count, source, type = 0, ticks = 160, rate = 8000, payload_count;
static double loss, jitter_ms, reorder, burst_ms;
static uint8_t (*payloads)[PAYLOAD_BYTES];
static int *payload_bytes;
static long sent, dropped, received, late;
static int64_t ignore_until;
static float *samples;
static long sample_count, sample_room;
static uint64_t random_state = 1;

static double uniform(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / 9007199254740992.0;
}

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct sockaddr_in loopback(int host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(0x7F000000 | host);
    return address;
}

static void open_streams(void) {
    streams = calloc(count, sizeof *streams);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in from = loopback(2, source + 2 * i), to = loopback(1, base + step * i);
        int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to)) {
            perror("load");
            exit(3);
        }
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        streams[i].fd = fd;
        streams[i].held_from = (int64_t)(uniform() * 5e9) + 1000000000LL;
    }
}

static void read_payloads(const char *path) {
    FILE *file = path ? fopen(path, "rb") : NULL;
    uint8_t head[2];
    int room = 1024;
    payloads = calloc(room, PAYLOAD_BYTES);
    payload_bytes = calloc(room, sizeof *payload_bytes);
    if (!path) {
        for (int i = 0; i < 160; i++) payloads[0][i] = 0x80 | (i * 7 & 0x7F);
        payload_bytes[payload_count++] = 160;
        return;
    }
    while (file && payload_count < room && fread(head, 1, 2, file) == 2) {
        int bytes = head[0] | head[1] << 8;
        if (bytes > PAYLOAD_BYTES || fread(payloads[payload_count], 1, bytes, file) != (size_t)bytes) exit(4);
        payload_bytes[payload_count++] = bytes;
    }
    if (!payload_count) exit(4);
    fclose(file);
}

/* --- what comes back */

static void keep_sample(double jitter_ns) {
    if (sample_count == sample_room) samples = realloc(samples, (sample_room = sample_room * 2 + 4096) * sizeof *samples);
    samples[sample_count++] = (float)(jitter_ns / 1e6);
}

static void take(struct stream *s, const uint8_t *packet, int64_t arrived) {
    uint16_t seq = packet[2] << 8 | packet[3];
    uint32_t stamp = (uint32_t)packet[4] << 24 | packet[5] << 16 | packet[6] << 8 | packet[7];
    received++;
    if (!s->begun) {
        s->begun = 1;
        s->highest = seq;
        s->received = 0;
        s->arrived = 0;
        s->ssrc = seq; /* the first number, for the gaps */
    }
    int16_t ahead = (int16_t)(seq - (uint16_t)s->highest);
    if (ahead > 0) s->highest += ahead;
    s->received++;
    if (arrived < ignore_until) {
        s->arrived = 0;
        return;
    }
    if (s->arrived) {
        double difference = (double)(arrived - s->arrived) - (double)(int32_t)(stamp - s->stamp) * 1e9 / rate;
        s->jitter += (fabs(difference) - s->jitter) / 16;
    }
    s->arrived = arrived;
    s->stamp = stamp;
    if (s->received > 50 && s->received % 50 == 0) keep_sample(s->jitter);
}

static void read_back(struct stream *s) {
    uint8_t packet[2048];
    char control[64];
    for (;;) {
        struct iovec part = {packet, sizeof packet};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t bytes = recvmsg(s->fd, &header, 0);
        if (bytes < 12) return;
        struct cmsghdr *stamp = CMSG_FIRSTHDR(&header);
        struct timespec t = {0, 0};
        if (stamp && stamp->cmsg_type == SO_TIMESTAMPNS) memcpy(&t, CMSG_DATA(stamp), sizeof t);
        take(s, packet, t.tv_sec * 1000000000LL + t.tv_nsec);
    }
}

/* --- what is sent */

static void put(long slice, int stream, uint32_t number) {
    struct bucket *b = &buckets[slice % AHEAD];
    if (b->count == b->room) b->packets = realloc(b->packets, (b->room = b->room * 2 + 64) * sizeof *b->packets);
    b->packets[b->count++] = (struct packet){stream, number};
}

/* When the network hands on what is sent in this slice; -1: never. */
static long handed_on(struct stream *s, long slice) {
    if (loss > 0 && uniform() * 100 < loss) return -1;
    double delay_ms = jitter_ms > 0 ? uniform() * jitter_ms : 0;
    if (reorder > 0 && uniform() * 100 < reorder) delay_ms += 30;
    if (burst_ms > 0) {
        int64_t at = slice * SLICE_NS;
        if (at >= s->held_from && s->held_until <= s->held_from) s->held_until = s->held_from + (int64_t)(burst_ms * 1e6);
        if (at < s->held_until) {
            double rest = (s->held_until - at) / 1e6;
            if (rest > delay_ms) delay_ms = rest;
        } else if (at > s->held_from) {
            s->held_from += 5000000000LL;
        }
    }
    long slices = (long)(delay_ms * 1e6 / SLICE_NS);
    return slice + (slices < AHEAD - 1 ? slices : AHEAD - 1);
}

static void send_one(const struct packet *p) {
    static uint8_t packet[12 + PAYLOAD_BYTES];
    int place = (p->number + (uint32_t)p->stream * 37) % payload_count;
    uint16_t seq = htons((uint16_t)p->number);
    uint32_t stamp = htonl(p->number * (uint32_t)ticks), ssrc = htonl(1000 + p->stream);
    packet[0] = 0x80;
    packet[1] = type;
    memcpy(packet + 2, &seq, 2);
    memcpy(packet + 4, &stamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    memcpy(packet + 12, payloads[place], payload_bytes[place]);
    sent += send(streams[p->stream].fd, packet, 12 + payload_bytes[place], 0) > 0;
}

static void run_slice(long slice, int sending) {
    for (int i = slice % SLICES; i < count; i += SLICES) {
        read_back(&streams[i]);
        long when = sending ? handed_on(&streams[i], slice) : -1;
        if (when >= 0) put(when, i, (uint32_t)(slice / SLICES));
        else if (sending) dropped++;
    }
    struct bucket *b = &buckets[slice % AHEAD];
    for (int i = 0; i < b->count; i++) send_one(&b->packets[i]);
    b->count = 0;
}

static void run(double seconds) {
    int64_t start = now_ns(CLOCK_MONOTONIC) + 10000000;
    long slices = (long)(seconds * 50) * SLICES;
    int64_t wall = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    double longest = jitter_ms + (reorder > 0 ? 30 : 0) > burst_ms ? jitter_ms + 30 : burst_ms;
    long rest = 25 + (long)(longest * 1e6 / SLICE_NS);
    for (long slice = 0; slice < slices + rest; slice++) {
        int64_t due = start + slice * SLICE_NS;
        struct timespec until = {due / 1000000000LL, due % 1000000000LL};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        int64_t now = now_ns(CLOCK_MONOTONIC);
        if (now - due > LATE_NS) {
            late += slice < slices;
            ignore_until = now + wall + SETTLE_NS;
        }
        run_slice(slice, slice < slices);
    }
    for (int i = 0; i < count; i++) read_back(&streams[i]);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(double q) { return sample_count ? samples[(long)(q * (sample_count - 1))] : -1; }

static void set(const char *word) {
    if (sscanf(word, "type=%d", &type) == 1 || sscanf(word, "ticks=%d", &ticks) == 1 || sscanf(word, "rate=%d", &rate) == 1) return;
    if (sscanf(word, "loss=%lf", &loss) == 1 || sscanf(word, "jitter=%lf", &jitter_ms) == 1) return;
    if (sscanf(word, "reorder=%lf", &reorder) == 1 || sscanf(word, "burst=%lf", &burst_ms) == 1) return;
    unsigned long seed;
    if (sscanf(word, "seed=%lu", &seed) == 1 && seed) {
        random_state = seed * 0x9E3779B97F4A7C15ULL;
        return;
    }
    fprintf(stderr, "load: %s?\n", word);
    exit(2);
}

int main(int argc, char **argv) {
    const char *file = NULL;
    if (argc < 6) return 2;
    base = atoi(argv[1]), step = atoi(argv[2]), count = atoi(argv[3]), source = atoi(argv[5]);
    for (int i = 6; i < argc; i++) {
        if (!strncmp(argv[i], "payloads=", 9)) file = argv[i] + 9;
        else set(argv[i]);
    }
    read_payloads(file);
    open_streams();
    run(atof(argv[4]));
    long gaps = 0;
    for (int i = 0; i < count; i++)
        if (streams[i].begun) {
            long missing = (long)(uint32_t)(streams[i].highest - streams[i].ssrc) + 1 - streams[i].received;
            if (missing > 0) gaps += missing;
        }
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf("{\"sent\": %ld, \"dropped\": %ld, \"received\": %ld, \"gaps\": %ld, \"late\": %ld, \"cpu_s\": %.4f, "
           "\"jitter_samples\": %ld, \"jitter_p50_ms\": %.3f, \"jitter_p99_ms\": %.3f, \"jitter_max_ms\": %.3f}\n",
           sent, dropped, received, gaps, late, now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9, sample_count, quantile(.5),
           quantile(.99), quantile(1));
    return 0;
}
