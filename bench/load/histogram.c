/* Quantiles of what record() in load.h has counted. */
#include "load.h"

double quantile_ms(const struct histogram *h, double q) {
    u64 wanted = (u64)(q * (double)h->count), seen = 0;
    if (wanted >= h->count) wanted = h->count ? h->count - 1 : 0;
    for (int shift = 0; shift < 56; shift++)
        for (int i = shift ? 128 : 0; i < 256; i++) {
            seen += h->bucket[shift * 128 + i];
            if (seen > wanted) {
                u64 edge = (((u64)i + 1) << shift) - 1;
                return (double)(edge < h->max ? edge : h->max) / 1e6;
            }
        }
    return (double)h->max / 1e6;
}
