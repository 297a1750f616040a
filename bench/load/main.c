/* A lean load generator: one thread, epoll, raw sockets, frames written by hand.
 *
 *   load HOST PORT MODE [name=value ...]      MODE: ping | fanout | direct | idle | storm | beside
 *
 * Standard input: one line a socket, "TOKEN CONVERSATION ROLE [MISSED [HEAD]]" (ROLE: a author, r reader, s a reader
 * that will stop reading, g a guest of whom nothing is expected; CONVERSATION: its id, or - for none), then "end". With a HEAD, a socket signs in as a client
 * that comes back and has everything up to there, where the protocol knows such a thing (Konnect's does). When all are
 * signed in and synced, "go" starts the load. Standard output: one JSON object a line: ready, begin and end of each
 * phase, result; or failed, with the reason. Each protocol's file says what it takes TOKEN and CONVERSATION for.
 *
 *   proto   konnect (if not said otherwise), socketio, xmpp, nats or bare
 *   ping    every socket keeps `flight` pings of `bytes` bytes in flight
 *   fanout  socket 0 sends; with rate > 0 so many messages a second by the clock, whatever comes back (latency counts
 *           from the moment the message was due), else as fast as it goes, at most `flight` not yet delivered to all
 *   direct  sockets 2i and 2i+1 share a conversation; 2i keeps `flight` messages in flight until acknowledged
 *   idle    all sign in, `connecting` of them at a time, and are held for `seconds` while nobody says a word
 *   storm   all sign in; then all are reset at once and dialled again at once, again and again where that fails, until
 *           the last is signed in and synced; each is to get the MISSED entries above HEAD before that, whose texts
 *           begin with 1, 2, 3 ... in 16 hexadecimal digits
 *   beside  as fanout by the clock, while others act in the same conversation: what is not by socket 0 is counted, and
 *           no more. After "go", "b" on standard input begins a phase, "e" ends it and has its figures told at once,
 *           and "s" ends the load; so the result has no phases
 *
 * Other options: warmup, drain, patience (seconds), phases (with 2, readers s stop in the second), sample (every so
 * many messages one is looked into; in a storm all are).
 */
#define _GNU_SOURCE
#include "load.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { OTHER_FILES = 16 };                  /* open files that are no sockets of the load */

struct options options = {
    .protocol = &konnect, .seconds = 5, .warmup = 1, .drain = 10, .patience = 120,
    .flight = 1, .bytes = 100, .sample = 16, .phases = 1, .connecting = 64,
};
struct client *clients;
int client_count;
u64 run_id, live_count;
struct sockaddr_storage address;
socklen_t address_size;
char host_header[300];

static const char *const modes[] = {[PING] = "ping", [FANOUT] = "fanout", [DIRECT] = "direct", [IDLE] = "idle",
                                    [STORM] = "storm", [BESIDE] = "beside"};
static const struct protocol *const protocols[] = {&konnect, &socketio, &xmpp, &nats, &bare};

static enum mode mode_called(const char *name) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(modes[i], name)) return (enum mode)i;
    fail("no mode is called %s", name);
}

static const struct protocol *protocol_called(const char *name) {
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (!strcmp(protocols[i]->name, name)) return protocols[i];
    fail("no protocol is called %s", name);
}

static void read_option(const char *name, const char *value) {
    static const struct { const char *name; double *value; } reals[] = {
        {"rate", &options.rate}, {"seconds", &options.seconds}, {"warmup", &options.warmup}, {"drain", &options.drain},
        {"patience", &options.patience},
    };
    static const struct { const char *name; long *value; } wholes[] = {
        {"flight", &options.flight}, {"bytes", &options.bytes}, {"sample", &options.sample},
        {"phases", &options.phases}, {"connecting", &options.connecting},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (!strcmp(name, reals[i].name)) { *reals[i].value = atof(value); return; }
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        if (!strcmp(name, wholes[i].name)) { *wholes[i].value = atol(value); return; }
    if (strcmp(name, "proto")) fail("no option is called %s", name);
    options.protocol = protocol_called(value);
}

static void read_address(const char *host, const char *port) {
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem) fail("%s: %s", host, gai_strerror(problem));
    memcpy(&address, found->ai_addr, found->ai_addrlen);
    address_size = found->ai_addrlen;
    freeaddrinfo(found);
    snprintf(host_header, sizeof host_header, strchr(host, ':') ? "[%.200s]:%.8s" : "%.200s:%.8s", host, port);
}

static void read_words(int count, char **words) {
    if (count < 4) fail("load HOST PORT ping|fanout|direct|idle|storm|beside [name=value ...]");
    options.mode = mode_called(words[3]);
    for (int i = 4; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) fail("%s is no name=value", words[i]);
        *value++ = 0;
        read_option(words[i], value);
    }
    if (options.flight < 1 || options.flight > RING / 2 || options.bytes < 16 || options.bytes > 60000 ||
        options.sample < 1 || options.phases < 1 || options.phases > PHASES || options.seconds <= 0 ||
        options.rate < 0 || options.connecting < 1)
        fail("an option is out of bounds");
    if (options.mode == BESIDE && options.rate <= 0) fail("beside goes by the clock: it needs a rate");
    if (!(options.protocol->modes & 1u << options.mode))
        fail("%s has no %s", options.protocol->name, modes[options.mode]);
    if (options.mode > DIRECT) options.phases = 1;
    read_address(words[1], words[2]);
}

/* A field of a line, of letters that need no escape in any protocol; NULL when there is none. */
static char *field(char **rest) {
    char *text;
    do text = strsep(rest, " \n"); while (text && !*text);
    if (!text) return NULL;
    for (char *p = text; *p; p++)
        if (*p < 0x21 || *p > 0x7e || strchr("\"'<>&\\", *p)) return NULL;
    text = strdup(text);
    if (!text) fail("out of memory");
    return text;
}

static void read_client(struct client *c, char *line) {
    char *rest = line;
    memset(c, 0, sizeof *c);
    c->token = field(&rest);
    c->conversation = field(&rest);
    char *role = field(&rest), *missed = field(&rest), *head = field(&rest);
    if (!c->token || !c->conversation || !role || strlen(role) != 1 || !strchr("arsg", *role))
        fail("line %d is wrong", client_count + 1);
    c->role = *role;
    c->missed = missed ? strtoull(missed, NULL, 10) : 0;
    c->head = head ? strtoull(head, NULL, 10) : 0;
    c->mask = 0x9e3779b9u * (u32)(client_count + 1) | 1;
    free(role), free(missed), free(head);
}

static void read_clients(void) {
    char *line = NULL;
    size_t room = 0;
    int space = 0;
    while (getline(&line, &room, stdin) > 0 && strcmp(line, "end\n")) {
        if (client_count == space) {
            space = space ? space * 2 : 64;
            clients = realloc(clients, (size_t)space * sizeof *clients);
            if (!clients) fail("out of memory");
        }
        read_client(&clients[client_count], line);
        client_count++;
    }
    free(line);
    if (!client_count) fail("no sockets");
}

static void raise_file_limit(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if ((rlim_t)client_count + OTHER_FILES > files.rlim_max)
        fail("%d sockets need a higher limit of open files: it is %llu (ulimit -Hn)", client_count,
             (u64)files.rlim_max);
}

int main(int count, char **words) {
    read_words(count, words);
    run_id = now_ns() ^ (u64)getpid() << 48;
    read_clients();
    raise_file_limit();
    prepare_counts();
    open_sockets();
    sign_in();
    await_go();
    if (options.mode == IDLE) hold_idle();
    else if (options.mode == STORM) make_storm();
    else if (options.mode == BESIDE) keep_beat();
    else make_load();
    tell_result();
    return 0;
}
