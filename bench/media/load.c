/* The callers: N RTP streams of 20 ms PCMU, spread evenly over the 20 ms, each from a socket of its own.
 *
 * usage: load BASE_PORT STEP N SECONDS SOURCE_PORT    sends from 127.0.0.1:SOURCE_PORT + 2 * i to BASE_PORT + STEP * i;
 * prints: packets sent, packets received back, own wake-ups that were more than 5 ms late. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SLICES 10

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    int base = atoi(argv[1]), step = atoi(argv[2]), count = atoi(argv[3]), source = atoi(argv[5]);
    double seconds = atof(argv[4]);
    int *fds = calloc(count, sizeof *fds);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in from = loopback(source + 2 * i), to = loopback(base + step * i);
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (bind(fds[i], (struct sockaddr *)&from, sizeof from)) return 3;
        if (connect(fds[i], (struct sockaddr *)&to, sizeof to)) return 3;
    }
    uint8_t packet[172] = {0x80, 0}, back[2048];
    for (int i = 12; i < 172; i++) packet[i] = 0x80 | (i * 7 & 0x7F);
    long sent = 0, received = 0, late = 0;
    int64_t start = now_ns() + 10000000, slice_ns = 20000000 / SLICES;
    long slices = (long)(seconds * 50) * SLICES;
    for (long slice = 0; slice < slices; slice++) {
        int64_t due = start + slice * slice_ns;
        struct timespec until = {due / 1000000000LL, due % 1000000000LL};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        late += now_ns() - due > 5000000;
        uint16_t seq = htons((uint16_t)(slice / SLICES));
        uint32_t stamp = htonl((uint32_t)(slice / SLICES * 160));
        memcpy(packet + 2, &seq, 2);
        memcpy(packet + 4, &stamp, 4);
        for (int i = slice % SLICES; i < count; i += SLICES) {
            uint32_t ssrc = htonl(1000 + i);
            memcpy(packet + 8, &ssrc, 4);
            while (recv(fds[i], back, sizeof back, 0) > 0) received++;
            sent += send(fds[i], packet, sizeof packet, 0) > 0;
        }
    }
    struct timespec rest = {0, 100000000};
    nanosleep(&rest, NULL);
    for (int i = 0; i < count; i++)
        while (recv(fds[i], back, sizeof back, 0) > 0) received++;
    printf("%ld %ld %ld\n", sent, received, late);
    return 0;
}
