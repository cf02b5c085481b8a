// What both reference programs share: MNIST as lists of non-zero pixels, a
// generator of random numbers, and what the process has used.
//
// Plain C11 with libc and libm, and two things beside: the vector extension
// that GCC and Clang share (`vector_size`), and POSIX for `popen` and
// `getrusage`. Files that end in .gz are read through `gzip -dc`; its
// processor time is counted with the program's.

#ifndef ZFL_REFERENCE_MNIST_H
#define ZFL_REFERENCE_MNIST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PIXELS = 784, CLASSES = 10, LANES = 16 };

// Sixteen outputs of a layer side by side: one register with AVX-512, two
// with AVX2, four with SSE or NEON.
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t lanes_i32 __attribute__((vector_size(4 * LANES)));

// `x` where the comparison `mask` holds, else 0.
static inline lanes where(lanes_i32 mask, lanes x)
{
    return (lanes)(mask & (lanes_i32)x);
}

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "failed to %s %s\n", what, which);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory)
        fail("allocate", "memory");
    memset(memory, 0, (bytes + 63) / 64 * 64);
    return memory;
}

// ---- random numbers: splitmix64

static uint64_t random_state;

static uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double random_unit(void)
{
    return (double)(random_u64() >> 11) * 0x1p-53;
}

static double random_normal(void)
{
    double radius = sqrt(-2 * log(1 - random_unit()));
    return radius * cos(6.283185307179586 * random_unit());
}

static void shuffle(uint32_t *items, size_t count)
{
    for (size_t left = count; left > 1; left--) {
        size_t other = (size_t)((random_u64() >> 32) * left >> 32);
        uint32_t item = items[left - 1];
        items[left - 1] = items[other];
        items[other] = item;
    }
}

// ---- data

// Samples as lists of their pixels that are not zero.
struct samples {
    uint32_t count;
    uint32_t *starts;  // [count + 1], into the two below
    uint16_t *pixels;
    float *values;     // pixel / 255
    uint8_t *labels;   // [count]
};

// Reads DIR/NAME or DIR/NAME.gz, `header` + `bytes` long; gives the bytes.
static uint8_t *read_idx(const char *dir, const char *name, uint32_t magic,
                         size_t header, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    bool piped = !file;
    if (piped) {
        snprintf(path, sizeof path, "%s/%s.gz", dir, name);
        if (access(path, R_OK) != 0)
            fail("find", path);
        // By the environment, so that no character of the path is special.
        setenv("REFERENCE_FILE", path, 1);
        file = popen("exec gzip -dc \"$REFERENCE_FILE\"", "r");
        if (!file)
            fail("read", path);
    }
    uint8_t head[16];
    uint8_t *body = allocate(bytes);
    if (fread(head, 1, header, file) != header || head[2] != magic >> 8 ||
        head[3] != (magic & 255) || fread(body, 1, bytes, file) != bytes)
        fail("read", path);
    if (piped)
        pclose(file);
    else
        fclose(file);
    return body;
}

static struct samples read_samples(const char *dir, const char *part, uint32_t count)
{
    char name[64];
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    uint8_t *images = read_idx(dir, name, 0x803, 16, (size_t)count * PIXELS);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    struct samples samples = {.count = count};
    samples.labels = read_idx(dir, name, 0x801, 8, count);
    samples.starts = allocate((count + 1) * sizeof *samples.starts);
    uint32_t entries = 0;
    for (uint32_t sample = 0; sample < count; sample++) {
        samples.starts[sample] = entries;
        for (size_t pixel = 0; pixel < PIXELS; pixel++)
            entries += images[(size_t)sample * PIXELS + pixel] != 0;
    }
    samples.starts[count] = entries;
    samples.pixels = allocate(entries * sizeof *samples.pixels);
    samples.values = allocate(entries * sizeof *samples.values);
    size_t entry = 0;
    for (uint32_t sample = 0; sample < count; sample++) {
        for (size_t pixel = 0; pixel < PIXELS; pixel++) {
            uint8_t value = images[(size_t)sample * PIXELS + pixel];
            if (value) {
                samples.pixels[entry] = (uint16_t)pixel;
                samples.values[entry++] = (float)value / 255;
            }
        }
    }
    free(images);
    return samples;
}

// Deals the samples of `all` out anew: sample n of the result is sample
// `order[n]` of `all`. So the shares of the clients lie one after the other.
static struct samples reorder(const struct samples *all, const uint32_t *order)
{
    struct samples dealt = {.count = all->count};
    uint32_t entries = all->starts[all->count];
    dealt.labels = allocate(all->count);
    dealt.starts = allocate((all->count + 1) * sizeof *dealt.starts);
    dealt.pixels = allocate(entries * sizeof *dealt.pixels);
    dealt.values = allocate(entries * sizeof *dealt.values);
    uint32_t entry = 0;
    for (uint32_t sample = 0; sample < all->count; sample++) {
        uint32_t start = all->starts[order[sample]];
        uint32_t length = all->starts[order[sample] + 1] - start;
        dealt.labels[sample] = all->labels[order[sample]];
        dealt.starts[sample] = entry;
        memcpy(dealt.pixels + entry, all->pixels + start, length * sizeof *dealt.pixels);
        memcpy(dealt.values + entry, all->values + start, length * sizeof *dealt.values);
        entry += length;
    }
    dealt.starts[all->count] = entry;
    return dealt;
}

static void drop(struct samples *samples)
{
    free(samples->starts);
    free(samples->pixels);
    free(samples->values);
    free(samples->labels);
}

// ---- softmax

// exp of every lane: 2^n of the nearest n, times a polynomial of what is left
// (the coefficients of Cephes' expf; 2 units in the last place). For lanes of
// at most 0, as after the maximum is taken off.
static inline lanes exp_lanes(lanes x)
{
    x = where(x > -87.0f, x) + where(x <= -87.0f, (lanes){0} - 87.0f);
    lanes_i32 power = __builtin_convertvector(x * 1.44269504f - 0.5f, lanes_i32);
    lanes n = __builtin_convertvector(power, lanes);
    lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (lanes)((power + 127) << 23);
}

// Probabilities of the classes; lanes above them stay zero.
static inline lanes softmax(lanes logits)
{
    float highest = logits[0];
    for (int class = 1; class < CLASSES; class++)
        highest = logits[class] > highest ? logits[class] : highest;
    const lanes_i32 index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    lanes e = where(index < CLASSES, exp_lanes(logits - highest));
    float sum = 0;
    for (int class = 0; class < CLASSES; class++)
        sum += e[class];
    return e * (1 / sum);
}

static inline int highest_class(lanes logits)
{
    int best = 0;
    for (int class = 1; class < CLASSES; class++)
        if (logits[class] > logits[best])
            best = class;
    return best;
}

// ---- what was used

// Processor time of this process and of those it waited for.
static double cpu_seconds(void)
{
    double seconds = 0;
    const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage usage;
        getrusage(whose[i], &usage);
        seconds += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    }
    return seconds;
}

static void report(const char *workload, double accuracy, int rounds, double load_cpu_seconds)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"workload\":\"%s\",\"accuracy\":%.4f,\"rounds\":%d,\"cpu_seconds\":%.3f,"
           "\"load_cpu_seconds\":%.3f,\"peak_rss_bytes\":%lld}\n",
           workload, accuracy, rounds, cpu_seconds(), load_cpu_seconds,
           (long long)usage.ru_maxrss * 1024);
}

// ---- arguments

struct arguments {
    const char *dir;
    bool check;
};

static struct arguments parse(int count, char **words)
{
    struct arguments arguments = {0};
    bool understood = true;
    random_state = 1;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--check") == 0)
            arguments.check = true;
        else if (strncmp(words[i], "--seed=", 7) == 0)
            random_state = strtoull(words[i] + 7, NULL, 10);
        else if (words[i][0] != '-' && !arguments.dir)
            arguments.dir = words[i];
        else
            understood = false;
    }
    if (!understood || !arguments.dir) {
        fprintf(stderr, "usage: %s DATA_FOLDER [--seed=N] [--check]\n", words[0]);
        exit(2);
    }
    return arguments;
}

// ---- gradients against central differences

// Mean cross-entropy of a batch in double precision, by the plainest loops:
// nothing of the program's own kernels is in it. `layer` gives the weight from
// input `i` to output `o` of layer `l`, or its bias where `i` is the width.
typedef double parameter_at(int layer, int input, int output);

static double plain_loss(const struct samples *samples, uint32_t count, int layer_count,
                         const int *widths, parameter_at *at)
{
    double loss = 0;
    for (uint32_t sample = 0; sample < count; sample++) {
        double values[2][PIXELS] = {{0}};
        for (uint32_t entry = samples->starts[sample]; entry < samples->starts[sample + 1]; entry++)
            values[0][samples->pixels[entry]] = samples->values[entry];
        for (int layer = 0; layer < layer_count; layer++) {
            const double *from = values[layer % 2];
            double *to = values[(layer + 1) % 2];
            for (int output = 0; output < widths[layer + 1]; output++) {
                double sum = at(layer, widths[layer], output);
                for (int input = 0; input < widths[layer]; input++)
                    sum += from[input] * at(layer, input, output);
                to[output] = layer + 1 < layer_count && sum < 0 ? 0 : sum;
            }
        }
        const double *logits = values[layer_count % 2];
        double highest = logits[0], sum = 0;
        for (int class = 1; class < CLASSES; class++)
            highest = logits[class] > highest ? logits[class] : highest;
        for (int class = 0; class < CLASSES; class++)
            sum += exp(logits[class] - highest);
        loss += log(sum) + highest - logits[samples->labels[sample]];
    }
    return loss / count;
}

#endif
