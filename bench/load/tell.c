/* Clocks, and the lines on standard output: one JSON object each. */
#include "load.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

u64 cpu_ns(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    u64 seconds = (u64)(r.ru_utime.tv_sec + r.ru_stime.tv_sec);
    return seconds * 1000000000u + (u64)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000u;
}

/* What a peer said, made safe to stand within quotes in a line of JSON. */
void quoted(const char *text, size_t size, char *to, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < size && n + 2 < room; i++)
        to[n++] = (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\') ? '?' : text[i];
    to[n] = 0;
}

void fail(const char *format, ...) {
    char text[400], safe[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    quoted(text, strlen(text), safe, sizeof safe);
    printf("{\"event\": \"failed\", \"reason\": \"%s\"}\n", safe);
    fflush(stdout);
    exit(1);
}

void tell_ready(double seconds, double cpu_s) {
    printf("{\"event\": \"ready\", \"sockets\": %d, \"seconds\": %.6f, \"cpu\": %.4f}\n", client_count, seconds,
           cpu_s / seconds);
    fflush(stdout);
}

void tell_phase(const char *event, int number) {
    printf("{\"event\": \"%s\", \"phase\": %d}\n", event, number);
    fflush(stdout);
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf(", \"%s\": {\"count\": %llu, \"p50_ms\": %.4f, \"p95_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, "
           "\"max_ms\": %.4f}", name, h->count, quantile_ms(h, .5), quantile_ms(h, .95), quantile_ms(h, .99),
           quantile_ms(h, .999), (double)h->max / 1e6);
}

static void print_phase(const struct phase *p) {
    double seconds = (double)(p->end - p->begin) / 1e9;
    printf("{\"seconds\": %.6f, \"acks\": %llu, \"deliveries\": %llu, \"cpu\": %.4f", seconds, p->acks, p->deliveries,
           (double)(p->cpu_end - p->cpu_begin) / 1e9 / seconds);
    print_histogram("ack", &p->ack);
    print_histogram("delivery", &p->delivery);
    print_histogram("last", &p->last);
    print_histogram("synced", &p->synced);
    printf("}");
}

void tell_stretch(void) {
    printf("{\"event\": \"stretch\", \"counts\": ");
    print_phase(&phase[0]);
    printf("}\n");
    fflush(stdout);
}

void tell_result(void) {
    u64 sent = sent_in_all(), expected = expected_deliveries(), slow = 0;
    u64 lost = expected > counts.deliveries ? expected - counts.deliveries : 0;
    if (sent > counts.acks + counts.errors) lost += sent - counts.acks - counts.errors;
    u64 unasked = counts.deliveries > expected ? counts.deliveries - expected : 0;
    printf("{\"event\": \"result\", \"sockets\": %d, \"sent\": %llu, \"acks\": %llu, \"deliveries\": %llu, "
           "\"expected\": %llu, \"lost\": %llu, \"wrong\": %llu, \"errors\": %llu, \"closes\": %llu, "
           "\"others\": %llu, \"decoded\": %llu, \"redials\": %llu, "
           "\"first_error\": \"%s\", \"first_close\": \"%s\", \"slow\": [",
           client_count, sent, counts.acks, counts.deliveries, expected, lost, counts.wrong + unasked, counts.errors,
           counts.closes, counts.others, counts.decoded, counts.redials, counts.first_error, counts.first_close);
    for (int i = 0; i < client_count; i++)
        if (clients[i].role == 's')
            printf("%s[%d, \"%s\"]", slow++ ? ", " : "", clients[i].close_code, clients[i].close_reason);
    printf("], \"phases\": [");
    for (int i = 0; i < options.phases; i++) {
        if (i) printf(", ");
        print_phase(&phase[i]);
    }
    printf("]}\n");
    fflush(stdout);
}
