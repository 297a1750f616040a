/* How fast can it be? A WebSocket server of a page: one thread, epoll, one send for each frame, nothing stored, nobody
 * checked. A client's first frame names its conversation, and is answered "synced"; a frame that begins with "p" comes
 * back as it is; one that begins with "m" goes to everybody of its conversation, its author included.
 *
 *   bare PORT          prints "ready" when it listens on 127.0.0.1
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILES = 65536, NAMES = 1024, READ = 1 << 16, KEPT = 1 << 16, HEAD = 10 };

struct peer {
    int upgraded, conversation;    /* -1 before the first frame */
    int place;                     /* among the conversation's members */
    unsigned char *in;             /* what has not come whole */
    size_t in_size;
    unsigned char *out;            /* what the kernel has not taken */
    size_t out_size;
};

static struct peer *peers[FILES];
static struct { char name[64]; int *members, count, room; } conversations[NAMES];
static int conversation_count, ep;

static void watch(int fd, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(ep, how, fd, &event);
}

static void drop(int fd) {
    struct peer *p = peers[fd];
    if (p->conversation >= 0) {                                /* the last member takes its place */
        int *members = conversations[p->conversation].members, last = --conversations[p->conversation].count;
        members[p->place] = members[last];
        peers[members[p->place]]->place = p->place;
    }
    free(p->in), free(p->out), free(p);
    peers[fd] = NULL;
    close(fd);
}

/* Never frees the peer: a broken socket is dropped when it is read. What one does not read is kept for it. */
static void give(int fd, const void *data, size_t size) {
    struct peer *p = peers[fd];
    ssize_t sent = p->out_size ? 0 : send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0) sent = errno == EAGAIN ? 0 : (ssize_t)size;
    if ((size_t)sent == size) return;
    if (!p->out_size) watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    p->out = realloc(p->out, p->out_size + size - (size_t)sent);
    memcpy(p->out + p->out_size, (const char *)data + sent, size - (size_t)sent);
    p->out_size += size - (size_t)sent;
}

static void flush(int fd) {
    struct peer *p = peers[fd];
    ssize_t sent = send(fd, p->out, p->out_size, MSG_NOSIGNAL);
    if (sent <= 0) return;
    memmove(p->out, p->out + sent, p->out_size -= (size_t)sent);
    if (!p->out_size) watch(fd, EPOLLIN, EPOLL_CTL_MOD);
}

static int join(int fd, const unsigned char *name, size_t size) {
    int found = 0;
    if (size >= sizeof conversations->name) return -1;
    while (found < conversation_count && (strlen(conversations[found].name) != size ||
                                          memcmp(conversations[found].name, name, size))) found++;
    if (found == NAMES) return -1;
    if (found == conversation_count) memcpy(conversations[conversation_count++].name, name, size);
    if (conversations[found].count == conversations[found].room) {
        conversations[found].room = conversations[found].room * 2 + 16;
        conversations[found].members = realloc(conversations[found].members,
                                               sizeof(int) * (size_t)conversations[found].room);
    }
    peers[fd]->place = conversations[found].count;
    conversations[found].members[conversations[found].count++] = fd;
    return found;
}

/* Returns -1 when the socket is to be dropped. */
static int handle(int fd, int opcode, unsigned char *payload, size_t size) {
    struct peer *p = peers[fd];
    if (opcode == 8) return -1;
    if (opcode > 8) return 0;
    if (p->conversation < 0) {
        p->conversation = join(fd, payload, size);
        give(fd, "\x82\x06synced", 8);
        return p->conversation < 0 ? -1 : 0;
    }
    unsigned char frame[HEAD + READ];
    size_t head = size < 126 ? 2 : 4;
    frame[0] = 0x82;
    frame[1] = size < 126 ? (unsigned char)size : 126;
    if (size >= 126) frame[2] = (unsigned char)(size >> 8), frame[3] = (unsigned char)size;
    memcpy(frame + head, payload, size);
    if (size && *payload == 'p') give(fd, frame, head + size);
    if (size && *payload == 'm')
        for (int i = 0; i < conversations[p->conversation].count; i++)
            give(conversations[p->conversation].members[i], frame, head + size);
    return 0;
}

/* Takes whole frames; returns how many bytes were taken, -1 when the socket is to be dropped. */
static ssize_t frames(int fd, unsigned char *data, size_t size) {
    size_t at = 0;
    while (size - at >= 6) {
        unsigned char *f = data + at;
        size_t n = f[1] & 127, head = 2;
        if (n == 127 || !(f[1] & 128)) return -1;              /* longer than ours are, or not masked */
        if (n == 126) n = (size_t)f[2] << 8 | f[3], head = 4;
        if (size - at < head + 4 + n) break;
        for (size_t i = 0; i < n; i++) f[head + 4 + i] ^= f[head + (i & 3)];
        if (handle(fd, f[0] & 15, f + head + 4, n)) return -1;
        at += head + 4 + n;
    }
    return (ssize_t)at;
}

/* The load generators send one and the same key, so its answer (RFC 6455, 4.2.2) is known. */
static ssize_t upgrade(int fd, const unsigned char *data, size_t size) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: VCUCx0eCwvbuU7KLSJZfGLD8A6o=\r\n\r\n";
    const unsigned char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return size > 4096 ? -1 : 0;
    if (!memmem(data, size, "a29ubmVjdC1iZW5jaC0wMQ==", 24)) return -1;
    give(fd, answer, sizeof answer - 1);
    peers[fd]->upgraded = 1;
    return end + 4 - data;
}

static void readable(int fd) {
    static unsigned char buffer[KEPT + READ];
    struct peer *p = peers[fd];
    if (p->in_size) memcpy(buffer, p->in, p->in_size);
    ssize_t n = recv(fd, buffer + p->in_size, READ, 0), taken = 0;
    if (n < 0 && errno == EAGAIN) return;
    size_t size = p->in_size + (size_t)(n > 0 ? n : 0);
    if (n > 0) taken = p->upgraded ? frames(fd, buffer, size) : upgrade(fd, buffer, size);
    if (n <= 0 || taken < 0 || size - (size_t)taken > KEPT) { drop(fd); return; }
    p->in_size = size - (size_t)taken;
    p->in = realloc(p->in, p->in_size + 1);
    memcpy(p->in, buffer + taken, p->in_size);
}

int main(int count, char **words) {
    int one = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files), files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    at.sin_port = htons((uint16_t)(count > 1 ? atoi(words[1]) : 0));
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 4096)) { perror("bare"); return 1; }
    ep = epoll_create1(0);
    watch(door, EPOLLIN, EPOLL_CTL_ADD);
    puts("ready"), fflush(stdout);
    for (;;) {
        struct epoll_event events[512];
        int n = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == door) {
                while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= FILES || !(peers[fd] = calloc(1, sizeof(struct peer)))) { close(fd); continue; }
                    peers[fd]->conversation = -1;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
                }
                continue;
            }
            if (events[i].events & EPOLLOUT && peers[fd]->out_size) flush(fd);
            if (events[i].events & ~(uint32_t)EPOLLOUT) readable(fd);
        }
    }
}
