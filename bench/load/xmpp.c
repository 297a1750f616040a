/* XMPP over WebSocket (RFC 7395), host "localhost". TOKEN: user:password, for SASL PLAIN; CONVERSATION: the room, or
 * for direct the user name of the other one.
 *
 *   signing in   open, SASL, open, bind, (session, where it is demanded,) presence; synced when the own presence came
 *                back; for fanout then the room is joined, without history, until its self-presence (XEP-0045,
 *                status 110); in a storm, where something was missed, the last page of the own archive (XEP-0313)
 *   ping         XEP-0199 to the server; the bytes are in the request's id, the one thing that comes back
 *   fanout       groupchat; the author's own copy is its acknowledgement
 *   direct       chat; acknowledged by stream management (XEP-0198): asked for with <r/> after each message. A server
 *                handles a stream's stanzas in order and says <a h=.../> when it is through with them; with an archive
 *                that is after the archive's insert. Only authors enable it, which is less work for the server. The
 *                server counts every stanza, answers to its own pings too, and these may come between any two
 *                messages: so each message knows which stanza it was. */
#define _GNU_SOURCE
#include "load.h"
#include <stdio.h>

#define FRAMING "urn:ietf:params:xml:ns:xmpp-framing"
#define SM "urn:xmpp:sm:3"
#define ROOMS "conference.localhost"

enum step {
    OPENING, AUTHENTICATING, REOPENING, BINDING, BINDING_FIRST, MAKING_SESSION, ENABLING, ARRIVING, JOINING, CATCHING_UP
};

/* --- Signing in --- */

static int user_size(const struct client *c) { return (int)strcspn(c->token, ":"); }

static void say(struct client *c, const char *stanza) {
    put_text(stanza);
    push_message(c);
}

static void open_stream(struct client *c) { say(c, "<open xmlns='" FRAMING "' to='localhost' version='1.0'/>"); }

static void opened(struct client *c) {
    c->step = OPENING;
    c->handled = c->stanzas = 0;
    forget_caught_up(c);                                       /* the archive's page comes from its beginning again */
    open_stream(c);
}

static void put_base64(const char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        u32 v = (u32)(u8)data[i] << 16;
        if (i + 1 < size) v |= (u32)(u8)data[i + 1] << 8;
        if (i + 2 < size) v |= (u8)data[i + 2];
        for (int k = 0; k < 4; k++) put_byte(i + (size_t)k > size ? '=' : (u8)digits[v >> (18 - 6 * k) & 63]);
    }
}

static void authenticate(struct client *c) {
    char plain[600];
    const char *password = c->token + user_size(c);
    int n = snprintf(plain, sizeof plain, "%c%.*s%c%s", 0, user_size(c), c->token, 0, *password ? password + 1 : "");
    if (n >= (int)sizeof plain) fail("a password is too long");
    put_text("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>");
    put_base64(plain, (size_t)n);
    say(c, "</auth>");
}

static void arrive(struct client *c) {
    c->step = ARRIVING;
    c->stanzas++;
    say(c, "<presence xmlns='jabber:client'/>");
}

static void bound(struct client *c) {
    if (options.mode != DIRECT || c->role != 'a') { arrive(c); return; }
    c->step = ENABLING;
    if (!c->stanza && !(c->stanza = calloc(RING, sizeof(u32)))) fail("out of memory");
    say(c, "<enable xmlns='" SM "'/>");
}

static void join(struct client *c) {
    c->step = JOINING;
    put_text("<presence xmlns='jabber:client' to='"), put_text(c->conversation);
    put_text("@" ROOMS "/"), put(c->token, (size_t)user_size(c));
    say(c, "'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>");
}

static void ask_archive(struct client *c) {
    c->step = CATCHING_UP;
    put_text("<iq xmlns='jabber:client' type='set' id='archive'><query xmlns='urn:xmpp:mam:2'>"
             "<set xmlns='http://jabber.org/protocol/rsm'><max>");
    put_decimal(c->missed);
    say(c, "</max><before/></set></query></iq>");
}

static void arrived(struct client *c, u64 now) {
    if (options.mode == FANOUT) join(c);
    else if (storming && c->missed) ask_archive(c);
    else synced(c, now);
}

static int is_own_presence(const struct client *c, const u8 *p, const u8 *end) {
    size_t size, user = (size_t)user_size(c);
    const u8 *from = xml_attribute(p, end, "from", &size);
    return from && size > user + 11 && !memcmp(from, c->token, user) && !memcmp(from + user, "@localhost/", 11);
}

static int has(const u8 *p, const u8 *end, const char *text) {
    return memmem(p, (size_t)(end - p), text, strlen(text)) != NULL;
}

static void features(struct client *c, const u8 *p, const u8 *end) {
    if (c->step == OPENING) {
        if (!has(p, end, ">PLAIN<")) fail("a sign-in was refused: the server has no SASL PLAIN");
        c->step = AUTHENTICATING;
        authenticate(c);
    } else if (c->step == REOPENING) {
        /* RFC 3921 demanded a session; servers that still know of it say that it is optional. */
        const u8 *session = memmem(p, (size_t)(end - p), "<session", 8);
        c->step = session && !has(session, end, "<optional") ? BINDING_FIRST : BINDING;
        say(c, "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    }
}

static void result_of_sign_in(struct client *c, u64 now) {
    if (c->step == BINDING_FIRST) {
        c->step = MAKING_SESSION;
        say(c, "<iq xmlns='jabber:client' type='set' id='session'>"
               "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    } else if (c->step == BINDING || c->step == MAKING_SESSION) bound(c);
    else if (c->step == CATCHING_UP) synced(c, now);
}

static void refuse(struct client *c, const u8 *p, const u8 *end) {
    char words[200];
    snprintf(words, sizeof words, "%.*s", (int)(end - p), (const char *)p);
    refused(c, words);
}

/* --- Stanzas --- */

static void message(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t size;
    c->handled++;
    const u8 *type = xml_attribute(p, end, "type", &size);
    if (same(type, size, "error")) { refuse(c, p, end); return; }
    if (storming) {
        const u8 *words = xml_inside(p, end, "body", &size);
        if (words) caught_up(c, c->head + stamp_of(words, size), words, size);   /* an archive has no numbers */
    } else if (c->state != LIVE || !has(p, end, "<body")) counts.others++;   /* a subject; what was left for it */
    else {
        delivered(c, p, end, now);
        if (options.mode == FANOUT && c->role == 'a') answered(c, c->answered, 1, p, end, now);
    }
}

static void iq(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t type_size, id_size, from_size;
    const u8 *type = xml_attribute(p, end, "type", &type_size), *id = xml_attribute(p, end, "id", &id_size);
    int good = same(type, type_size, "result");
    c->handled++;
    if (good || same(type, type_size, "error")) {
        if (!good) refuse(c, p, end);
        if (c->state != LIVE) result_of_sign_in(c, now);
        else answered(c, id ? json_whole(id, id + id_size) : ~0ull, good, p, end, now);
        return;
    }
    const u8 *from = xml_attribute(p, end, "from", &from_size);              /* the server pings */
    c->stanzas++;
    put_text("<iq xmlns='jabber:client' type='result' id='"), put(id, id_size);
    if (from) put_text("' to='"), put(from, from_size);
    say(c, "'/>");
}

static void presence(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t size;
    const u8 *type = xml_attribute(p, end, "type", &size);
    c->handled++;
    if (same(type, size, "error")) refuse(c, p, end);
    else if (c->step == ARRIVING && c->state != LIVE && is_own_presence(c, p, end)) arrived(c, now);
    else if (c->step == JOINING && c->state != LIVE && (has(p, end, "code='110'") || has(p, end, "code=\"110\"")))
        synced(c, now);
    else counts.others++;
}

static void managed(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t size;
    const u8 *h = xml_attribute(p, end, "h", &size);
    u64 through = h ? json_whole(h, h + size) : ~0ull;
    if (through == ~0ull || through > c->stanzas) { counts.wrong++; return; }
    while (c->answered < c->sent && c->stanza[c->answered % RING] <= through) answered(c, c->answered, 1, p, end, now);
}

static void any(struct client *c, const u8 *p, size_t size, u64 now) {
    const u8 *end = p + size;
    if (xml_is(p, end, "message")) message(c, p, end, now);
    else if (xml_is(p, end, "iq")) iq(c, p, end, now);
    else if (xml_is(p, end, "presence")) presence(c, p, end, now);
    else if (xml_is(p, end, "a")) managed(c, p, end, now);
    else if (xml_is(p, end, "r")) {
        put_text("<a xmlns='" SM "' h='"), put_decimal(c->handled);
        say(c, "'/>");
    } else if (xml_is(p, end, "stream:features") || xml_is(p, end, "features")) features(c, p, end);
    else if (xml_is(p, end, "success")) c->step = REOPENING, open_stream(c);
    else if (xml_is(p, end, "enabled")) c->handled = 0, arrive(c);
    else if (xml_is(p, end, "failure") || xml_is(p, end, "failed"))          /* of SASL, of stream management */
        fail("a sign-in was refused: %.*s", (int)size, (const char *)p);
    else if (xml_is(p, end, "close") || xml_is(p, end, "stream:error")) {
        char words[120];
        snprintf(words, sizeof words, "%.*s", (int)size, (const char *)p);
        lost(c, 1000, words);
    } else if (!xml_is(p, end, "open")) counts.others++;
}

/* --- Commands --- */

static void ping(struct client *c, u64 id, u64 at) {
    put_text("<iq xmlns='jabber:client' type='get' to='localhost' id='"), put_decimal(id), put_byte('-');
    put_stamped(at);
    say(c, "'><ping xmlns='urn:xmpp:ping'/></iq>");
}

static void send_text(struct client *c, u64 id, u64 at) {
    int group = options.mode == FANOUT;
    if (!group) c->stanza[id % RING] = ++c->stanzas;
    put_text("<message xmlns='jabber:client' type='"), put_text(group ? "groupchat" : "chat");
    put_text("' to='"), put_text(c->conversation);
    put_text(group ? "@" ROOMS "' id='" : "@localhost' id='"), put_key(c, id);
    put_text("'><body>"), put_stamped(at);
    say(c, "</body></message>");
    if (!group) say(c, "<r xmlns='" SM "'/>");
}

static const u8 *text(const u8 *p, const u8 *end, size_t *size) {
    if (options.mode != PING) return xml_inside(p, end, "body", size);
    const u8 *id = xml_attribute(p, end, "id", size);
    const u8 *dash = id ? memchr(id, '-', *size) : NULL;
    if (!dash) return NULL;
    *size -= (size_t)(dash + 1 - id);
    return dash + 1;
}

const struct protocol xmpp = {
    .name = "xmpp", .modes = 1 << PING | 1 << FANOUT | 1 << DIRECT | 1 << IDLE | 1 << STORM,
    .path = "/ws", .subprotocol = "xmpp", .opcode = 1,
    .opened = opened, .message = any, .ping = ping, .send = send_text, .text = text,
};
