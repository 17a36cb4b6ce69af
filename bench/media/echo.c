/* The yardstick: the least a program can do to echo N RTP streams on N sockets. No header is read, no audio touched.
 *
 * usage: echo BASE_PORT STEP N      binds 127.0.0.1:BASE_PORT + STEP * i, ends on SIGTERM. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static volatile sig_atomic_t stop;

static void on_signal(int number) {
    (void)number;
    stop = 1;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int base = atoi(argv[1]), step = atoi(argv[2]), count = atoi(argv[3]);
    int epoll = epoll_create1(0);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(base + step * i)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(fd, (struct sockaddr *)&address, sizeof address)) return 3;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    puts("READY");
    fflush(stdout);
    static struct epoll_event events[512];
    static char packet[2048];
    while (!stop) {
        int ready = epoll_wait(epoll, events, 512, 200);
        for (int i = 0; i < ready; i++) {
            struct sockaddr_in from;
            socklen_t size = sizeof from;
            ssize_t length = recvfrom(events[i].data.fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
            if (length > 0) sendto(events[i].data.fd, packet, length, 0, (struct sockaddr *)&from, size);
        }
    }
    return 0;
}
