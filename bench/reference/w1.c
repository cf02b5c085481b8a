// W1: federated averaging of 784-16-10 on MNIST, 50 clients, all of them in
// each of 20 rounds, 5 epochs, batches of 600, learning rate 0.1.
//
// One thread. The hidden layer is one vector: its sixteen units are lanes.
// Pixels that are zero are skipped. A batch keeps its error signals instead of
// a gradient of the first layer: 600 x 16 numbers against 784 x 16 to clear,
// fill and subtract.

#include "mnist.h"

enum {
    CLIENTS = 50,
    ROUNDS = 20,
    EPOCHS = 5,
    BATCH = 600,
    HIDDEN = LANES,
    TRAIN = 60000,
    TEST = 10000,
    SHARE = TRAIN / CLIENTS,
};
static const float LEARNING_RATE = 0.1f;

struct model {
    lanes first[PIXELS];   // [pixel], lanes are hidden units
    lanes first_bias;
    lanes second[HIDDEN];  // [hidden unit], lanes are classes
    lanes second_bias;
};
enum { MODEL_LANES = sizeof(struct model) / sizeof(lanes) };

static void initialise(struct model *model)
{
    memset(model, 0, sizeof *model);
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int unit = 0; unit < HIDDEN; unit++)
            model->first[pixel][unit] = (float)(random_normal() * sqrt(2.0 / PIXELS));
    for (int unit = 0; unit < HIDDEN; unit++)
        for (int class = 0; class < CLASSES; class++)
            model->second[unit][class] = (float)(random_normal() * sqrt(2.0 / HIDDEN));
}

static inline lanes hidden_of(const struct model *model, const struct samples *samples,
                              uint32_t sample)
{
    const uint16_t *pixels = samples->pixels;
    const float *values = samples->values;
    uint32_t entry = samples->starts[sample], end = samples->starts[sample + 1];
    // Four sums, so that an addition need not wait for the one before.
    lanes a = model->first_bias, b = {0}, c = {0}, d = {0};
    for (; entry + 4 <= end; entry += 4) {
        a += model->first[pixels[entry]] * values[entry];
        b += model->first[pixels[entry + 1]] * values[entry + 1];
        c += model->first[pixels[entry + 2]] * values[entry + 2];
        d += model->first[pixels[entry + 3]] * values[entry + 3];
    }
    for (; entry < end; entry++)
        a += model->first[pixels[entry]] * values[entry];
    a = (a + b) + (c + d);
    return where(a > 0, a);
}

static inline lanes logits_of(const struct model *model, lanes hidden)
{
    lanes a = model->second_bias, b = {0};
    for (int unit = 0; unit < HIDDEN; unit += 2) {
        a += model->second[unit] * hidden[unit];
        b += model->second[unit + 1] * hidden[unit + 1];
    }
    return a + b;
}

// One step of gradient descent on samples `batch`.
static void step(struct model *restrict model, const struct samples *restrict samples,
                 const uint32_t *restrict batch, uint32_t count, float learning_rate)
{
    static lanes hidden[BATCH], signals[BATCH], errors[BATCH];
    const float rate = learning_rate / (float)count;
    lanes across[CLASSES];  // [class], lanes are hidden units
    for (int class = 0; class < CLASSES; class++)
        for (int unit = 0; unit < HIDDEN; unit++)
            across[class][unit] = model->second[unit][class];
    for (uint32_t n = 0; n < count; n++) {
        lanes h = hidden_of(model, samples, batch[n]);
        lanes error = softmax(logits_of(model, h));
        error[samples->labels[batch[n]]] -= 1;
        lanes signal = {0};
        for (int class = 0; class < CLASSES; class++)
            signal += across[class] * error[class];
        hidden[n] = h;
        errors[n] = error * rate;
        signals[n] = where(h > 0, signal * rate);
    }
    for (uint32_t n = 0; n < count; n++) {
        model->second_bias -= errors[n];
        model->first_bias -= signals[n];
    }
    for (int half = 0; half < HIDDEN; half += HIDDEN / 2) {
        lanes sums[HIDDEN / 2] = {{0}};
        for (uint32_t n = 0; n < count; n++)
            for (int unit = 0; unit < HIDDEN / 2; unit++)
                sums[unit] += errors[n] * hidden[n][half + unit];
        for (int unit = 0; unit < HIDDEN / 2; unit++)
            model->second[half + unit] -= sums[unit];
    }
    for (uint32_t n = 0; n < count; n++) {
        const lanes signal = signals[n];
        const uint16_t *pixels = samples->pixels;
        const float *values = samples->values;
        uint32_t entry = samples->starts[batch[n]], end = samples->starts[batch[n] + 1];
        // A sample has a pixel once: four rows may be read before one is written.
        for (; entry + 4 <= end; entry += 4) {
            lanes *a = &model->first[pixels[entry]], *b = &model->first[pixels[entry + 1]];
            lanes *c = &model->first[pixels[entry + 2]], *d = &model->first[pixels[entry + 3]];
            lanes new_a = *a - signal * values[entry], new_b = *b - signal * values[entry + 1];
            lanes new_c = *c - signal * values[entry + 2], new_d = *d - signal * values[entry + 3];
            *a = new_a, *b = new_b, *c = new_c, *d = new_d;
        }
        for (; entry < end; entry++)
            model->first[pixels[entry]] -= signal * values[entry];
    }
}

static double accuracy_of(const struct model *model, const struct samples *samples)
{
    uint32_t correct = 0;
    for (uint32_t sample = 0; sample < samples->count; sample++) {
        lanes logits = logits_of(model, hidden_of(model, samples, sample));
        correct += highest_class(logits) == samples->labels[sample];
    }
    return (double)correct / samples->count;
}

// ---- --check

static struct model checked;
static int nudged_layer, nudged_input, nudged_output;
static double nudge;

static double checked_parameter(int layer, int input, int output)
{
    double extra = layer == nudged_layer && input == nudged_input && output == nudged_output
                       ? nudge
                       : 0;
    const lanes *rows = layer == 0 ? checked.first : checked.second;
    const lanes bias = layer == 0 ? checked.first_bias : checked.second_bias;
    int width = layer == 0 ? PIXELS : HIDDEN;
    return extra + (input == width ? bias[output] : rows[input][output]);
}

// The gradient that a step of rate 1 takes off, against central differences.
static void check(const struct samples *samples)
{
    enum { COUNT = 20 };
    const int widths[] = {PIXELS, HIDDEN, CLASSES};
    uint32_t batch[COUNT];
    for (uint32_t n = 0; n < COUNT; n++)
        batch[n] = n;
    initialise(&checked);
    struct model stepped = checked;
    step(&stepped, samples, batch, COUNT, 1);
    double worst = 0;
    for (int layer = 0; layer < 2; layer++) {
        for (int input = 0; input <= widths[layer]; input += layer == 0 ? 7 : 1) {
            for (int output = 0; output < widths[layer + 1]; output++) {
                const struct model *models[] = {&checked, &stepped};
                double at[2];
                for (int i = 0; i < 2; i++) {
                    const lanes *rows = layer == 0 ? models[i]->first : models[i]->second;
                    lanes bias = layer == 0 ? models[i]->first_bias : models[i]->second_bias;
                    at[i] = input == widths[layer] ? bias[output] : rows[input][output];
                }
                nudged_layer = layer, nudged_input = input, nudged_output = output;
                nudge = 1e-4;
                double above = plain_loss(samples, COUNT, 2, widths, checked_parameter);
                nudge = -1e-4;
                double below = plain_loss(samples, COUNT, 2, widths, checked_parameter);
                double expected = (above - below) / 2e-4;
                double error = fabs(at[0] - at[1] - expected) / fmax(fabs(expected), 1e-2);
                worst = error > worst ? error : worst;
            }
        }
    }
    printf("largest relative error of a gradient: %.1e\n", worst);
    exit(worst < 1e-3 ? 0 : 1);
}

int main(int argument_count, char **words)
{
    struct arguments arguments = parse(argument_count, words);
    struct samples test = read_samples(arguments.dir, "t10k", TEST);
    struct samples all = read_samples(arguments.dir, "train", TRAIN);
    if (arguments.check)
        check(&all);
    uint32_t *order = allocate(TRAIN * sizeof *order);
    for (uint32_t n = 0; n < TRAIN; n++)
        order[n] = n;
    shuffle(order, TRAIN);
    struct samples train = reorder(&all, order);
    drop(&all);
    double load_cpu_seconds = cpu_seconds();

    static struct model global, local, sum;
    initialise(&global);
    double accuracy = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memset(&sum, 0, sizeof sum);
        for (uint32_t client = 0; client < CLIENTS; client++) {
            for (uint32_t n = 0; n < SHARE; n++)
                order[n] = client * SHARE + n;
            local = global;
            for (int epoch = 0; epoch < EPOCHS; epoch++) {
                shuffle(order, SHARE);
                for (uint32_t start = 0; start < SHARE; start += BATCH)
                    step(&local, &train, order + start, BATCH, LEARNING_RATE);
            }
            for (size_t n = 0; n < MODEL_LANES; n++)
                ((lanes *)&sum)[n] += ((lanes *)&local)[n];
        }
        for (size_t n = 0; n < MODEL_LANES; n++)
            ((lanes *)&global)[n] = ((lanes *)&sum)[n] * (1.0f / CLIENTS);
        accuracy = accuracy_of(&global, &test);
    }
    report("W1", accuracy, ROUNDS, load_cpu_seconds);
    return 0;
}
