/* XML, as much as is needed to look into a stanza: RFC 7395 gives each one whole, in a message of its own. */
#define _GNU_SOURCE
#include "load.h"

static int ends_name(u8 c) { return c == ' ' || c == '>' || c == '/' || c == '\t' || c == '\n' || c == '\r'; }

int xml_is(const u8 *p, const u8 *end, const char *name) {
    size_t size = strlen(name);
    return (size_t)(end - p) > size + 1 && *p == '<' && !memcmp(p + 1, name, size) && ends_name(p[size + 1]);
}

const u8 *xml_attribute(const u8 *p, const u8 *end, const char *name, size_t *size) {
    size_t length = strlen(name);
    *size = 0;
    while (p < end && !ends_name(*p)) p++;                     /* the element's own name */
    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
        if (p == end || *p == '>' || *p == '/') return NULL;
        const u8 *equals = memchr(p, '=', (size_t)(end - p));
        if (!equals || end - equals < 2) return NULL;
        const u8 *value = equals + 2, *after = memchr(value, equals[1], (size_t)(end - value));
        if (!after) return NULL;
        if ((size_t)(equals - p) == length && !memcmp(p, name, length)) {
            *size = (size_t)(after - value);
            return value;
        }
        p = after + 1;
    }
    return NULL;
}

const u8 *xml_inside(const u8 *p, const u8 *end, const char *name, size_t *size) {
    char open[40] = "<";
    size_t length = strlen(name) + 1;
    *size = 0;
    memcpy(open + 1, name, length);
    for (; (p = memmem(p, (size_t)(end - p), open, length)); p += length) {
        if (!xml_is(p, end, name)) continue;                   /* only begins like it */
        const u8 *text = memchr(p, '>', (size_t)(end - p));
        if (!text || text[-1] == '/') return NULL;
        text++;
        const u8 *after = memchr(text, '<', (size_t)(end - text));
        if (!after) return NULL;
        *size = (size_t)(after - text);
        return text;
    }
    return NULL;
}
