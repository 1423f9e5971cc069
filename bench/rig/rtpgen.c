/* A load of RTP through a relay, and what came of it.
 *
 *   rtpgen FILE WARM SECONDS [RATE]
 *
 * FILE has one line a call: PORT_A RELAY_A PORT_B RELAY_B. Side A sends from 127.0.0.1:PORT_A to RELAY_A and
 * is sent what B says; the other way round for B, which says nothing when RELAY_B is 0. Each side says one
 * G.711 packet (160 octets) every 20 ms, or all together say RATE a second; the streams are spread evenly over
 * that time. Calls may share a PORT_A or a PORT_B: one socket serves them.
 *
 * Where A, B and the relay are not one host, FILE begins with "between NET_A HOST_A RELAY_A NET_B HOST_B RELAY_B":
 * for each side the file of its network namespace, its address, and the relay's that it sends to.
 *
 * For WARM seconds nothing counts. Then "begin" is printed, for SECONDS each packet counts, "end" is printed,
 * a moment later one line of JSON: sent, received, late (packets that this program sent more than 5 ms after
 * their time: then it, not the relay, is what was measured), and the delay in microseconds from the sending,
 * a timestamp in the payload, to the arrival, the kernel's timestamp of the packet.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SOCKETS 512
#define MAX_STREAMS 32768
#define BATCH 64
#define HEADER 12
#define PAYLOAD 160
#define PERIOD 20000000LL /* ns between two packets of a stream where no rate is given */
#define STEP 250000LL     /* ns between two rounds of sending */
#define TOO_LATE 5000000LL
#define LINGER 400000000LL

struct stream {
    int sock;
    struct sockaddr_in to;
    uint32_t ssrc, timestamp;
    uint16_t sequence;
    int64_t due;
};

struct said { /* at the head of the payload; `mark` tells the packets of two runs apart */
    uint32_t mark, counts;
    int64_t at;
};

struct side {
    char net[128]; /* empty: where we are */
    struct in_addr host, relay;
};

static struct side sides[2];
static int fds[MAX_SOCKETS];
static int ports[MAX_SOCKETS];
static int side_of[MAX_SOCKETS];
static int64_t period = PERIOD;
static int sockets;
static struct stream streams[MAX_STREAMS];
static int count;
static uint32_t mark;
static uint32_t *delays; /* tenths of microseconds */
static size_t room, received;

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static int64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void enter(const char *net)
{
    if (*net == 0)
        return;
    int fd = open(net, O_RDONLY);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        fail(net);
    close(fd);
}

/* The index of the socket of a side, 0 or 1, that is bound to this port. */
static int socket_at(int side, int port)
{
    for (int i = 0; i < sockets; i++)
        if (ports[i] == port && side_of[i] == side)
            return i;
    if (sockets == MAX_SOCKETS) {
        fprintf(stderr, "more than %d ports\n", MAX_SOCKETS);
        exit(2);
    }
    enter(sides[side].net);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1, size = 16 << 20;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = sides[side].host};
    if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local) < 0)
        fail("bind");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
        fail("SO_TIMESTAMPNS");
    fds[sockets] = fd;
    ports[sockets] = port;
    side_of[sockets] = side;
    return sockets++;
}

static void add_stream(int side, int from, int to)
{
    if (count == MAX_STREAMS) {
        fprintf(stderr, "more than %d streams\n", MAX_STREAMS);
        exit(2);
    }
    struct stream *s = &streams[count];
    s->sock = socket_at(side, from);
    s->to.sin_family = AF_INET;
    s->to.sin_port = htons(to);
    s->to.sin_addr = sides[side].relay;
    s->ssrc = 0x10000u + count;
    count++;
}

static void read_sides(FILE *file)
{
    char hosts[4][16] = {"127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"};
    int said = fscanf(file, "between %127s %15s %15s %127s %15s %15s", sides[0].net, hosts[0], hosts[1],
                      sides[1].net, hosts[2], hosts[3]);
    if (said != 0 && said != 6) {
        fprintf(stderr, "not six words after between\n");
        exit(2);
    }
    for (int i = 0; i < 2; i++) {
        inet_aton(hosts[2 * i], &sides[i].host);
        inet_aton(hosts[2 * i + 1], &sides[i].relay);
    }
}

static void read_calls(const char *path)
{
    FILE *file = fopen(path, "r");
    int port_a, relay_a, port_b, relay_b;
    if (file == NULL)
        fail(path);
    read_sides(file);
    while (fscanf(file, "%d %d %d %d", &port_a, &relay_a, &port_b, &relay_b) == 4) {
        add_stream(0, port_a, relay_a);
        if (relay_b)
            add_stream(1, port_b, relay_b);
        else
            socket_at(1, port_b);
    }
    fclose(file);
}

static int by_socket(const void *a, const void *b)
{
    return ((const struct stream *)a)->sock - ((const struct stream *)b)->sock;
}

static char packets[BATCH][HEADER + PAYLOAD];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static void write_packet(char *packet, struct stream *s, int counts)
{
    struct said said = {mark, counts, now(CLOCK_REALTIME)};
    uint16_t sequence = htons(s->sequence++);
    uint32_t timestamp = htonl(s->timestamp), ssrc = htonl(s->ssrc);
    packet[0] = (char)0x80;
    packet[1] = 0;
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    memcpy(packet + HEADER, &said, sizeof said);
    s->timestamp += PAYLOAD;
}

static void flush(int sock, int n)
{
    int done = 0;
    while (done < n) {
        int sent = sendmmsg(fds[sock], batch + done, n - done, 0);
        if (sent > 0)
            done += sent;
        else if (errno != ECONNREFUSED && errno != EINTR && errno != EAGAIN)
            fail("sendmmsg");
    }
}

/* Send what is due; how many packets, and into `late` how many of them too late. */
static long send_due(int64_t t, int64_t until, int counts, long *late)
{
    long sent = 0;
    int n = 0, sock = -1;
    for (int i = 0; i < count; i++) {
        struct stream *s = &streams[i];
        while (s->due <= t && s->due < until) {
            if (n == BATCH || (n > 0 && s->sock != sock)) {
                flush(sock, n);
                n = 0;
            }
            sock = s->sock;
            write_packet(packets[n], s, counts);
            pieces[n] = (struct iovec){packets[n], HEADER + PAYLOAD};
            batch[n].msg_hdr = (struct msghdr){
                .msg_name = &s->to, .msg_namelen = sizeof s->to, .msg_iov = &pieces[n], .msg_iovlen = 1};
            if (t - s->due > TOO_LATE)
                (*late)++;
            s->due += period;
            n++;
            sent++;
        }
    }
    if (n > 0)
        flush(sock, n);
    return sent;
}

static int64_t arrival(struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return t.tv_sec * 1000000000LL + t.tv_nsec;
        }
    return now(CLOCK_REALTIME);
}

static void receive_all(void)
{
    static char heard[BATCH][HEADER + PAYLOAD + 1];
    static char control[BATCH][64];
    static struct iovec into[BATCH];
    static struct mmsghdr in[BATCH];
    for (int i = 0; i < sockets; i++) {
        for (;;) {
            for (int k = 0; k < BATCH; k++) {
                into[k] = (struct iovec){heard[k], sizeof heard[k]};
                in[k].msg_hdr = (struct msghdr){
                    .msg_iov = &into[k], .msg_iovlen = 1, .msg_control = control[k], .msg_controllen = 64};
            }
            int n = recvmmsg(fds[i], in, BATCH, MSG_DONTWAIT, NULL);
            for (int k = 0; k < n; k++) {
                struct said said;
                if (in[k].msg_len != HEADER + PAYLOAD)
                    continue;
                memcpy(&said, heard[k] + HEADER, sizeof said);
                if (said.mark != mark || !said.counts || received == room)
                    continue;
                int64_t delay = arrival(&in[k].msg_hdr) - said.at;
                delays[received++] = delay < 0 ? 0 : (uint32_t)(delay / 100);
            }
            if (n < BATCH)
                break;
        }
    }
}

/* Send until the streams have said everything before `until`. */
static long play(int64_t until, int counts, long *late)
{
    long sent = 0;
    for (;;) {
        int64_t t = now(CLOCK_MONOTONIC);
        sent += send_due(t, until, counts, late);
        receive_all();
        int64_t rest = t + STEP - now(CLOCK_MONOTONIC);
        if (t >= until)
            return sent;
        if (rest > 0) {
            struct timespec pause = {0, rest};
            nanosleep(&pause, NULL);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile(double q)
{
    return received == 0 ? 0.0 : delays[(size_t)(q * (double)(received - 1))] / 10.0;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: rtpgen FILE WARM SECONDS [RATE]\n");
        return 2;
    }
    double warm = atof(argv[2]), seconds = atof(argv[3]);
    read_calls(argv[1]);
    qsort(streams, count, sizeof streams[0], by_socket);
    prctl(PR_SET_TIMERSLACK, 1UL);
    memset(packets, 0x55, sizeof packets);
    if (argc == 5)
        period = (int64_t)(count * 1e9 / atof(argv[4]));
    room = (size_t)(count * (seconds + 1.0) * 1e9 / period) + 1000;
    delays = calloc(room, sizeof delays[0]);
    if (count == 0 || delays == NULL) {
        fprintf(stderr, "no calls in %s, or no memory\n", argv[1]);
        return 2;
    }

    int64_t start = now(CLOCK_MONOTONIC);
    mark = (uint32_t)(start / 1000);
    for (int i = 0; i < count; i++)
        streams[i].due = start + period * i / count;
    long late = 0, before = 0;
    play(start + (int64_t)(warm * 1e9), 0, &before);
    puts("begin");
    fflush(stdout);
    long sent = play(start + (int64_t)((warm + seconds) * 1e9), 1, &late);
    puts("end");
    fflush(stdout);
    for (int64_t end = now(CLOCK_MONOTONIC) + LINGER; now(CLOCK_MONOTONIC) < end;) {
        struct timespec pause = {0, STEP};
        receive_all();
        nanosleep(&pause, NULL);
    }
    qsort(delays, received, sizeof delays[0], by_size);
    printf("{\"sent\": %ld, \"received\": %zu, \"late\": %ld, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"most\": %.1f}\n",
           sent, received, late, quantile(0.5), quantile(0.9), quantile(0.99), quantile(1.0));
    return 0;
}
