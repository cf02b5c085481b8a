// W2: federated averaging of the 2NN of McMahan et al. 2017 (784-200-200-10)
// on MNIST, 100 clients with equal IID shares, 10 of them a round, 1 epoch,
// batches of 10, learning rate 0.1, until the test accuracy is 0.97.
//
// One thread. Lanes are outputs of a layer; inputs that are zero, pixels and
// hidden units alike, are skipped: a layer's output is a sum of the rows of
// its inputs that are not zero, held in registers. On the way back a row of
// the second layer is read once a batch, for the error signals of its input
// and for its own update.

#include "mnist.h"

enum {
    CLIENTS = 100,
    SELECTED = 10,
    ROUNDS_MAX = 1000,
    EPOCHS = 1,
    BATCH = 10,
    HIDDEN = 200,
    WIDE = (HIDDEN + LANES - 1) / LANES,  // vectors of a hidden layer
    PADDED = WIDE * LANES,
    TRAIN = 60000,
    TEST = 10000,
    SHARE = TRAIN / CLIENTS,
};
static const float LEARNING_RATE = 0.1f;
static const double TARGET = 0.97;

struct model {
    lanes first[PIXELS][WIDE];   // [pixel], lanes are units
    lanes first_bias[WIDE];
    lanes second[HIDDEN][WIDE];  // [unit of the first layer]
    lanes second_bias[WIDE];
    lanes third[HIDDEN];         // [unit of the second layer], lanes are classes
    lanes third_bias;
};
enum { MODEL_LANES = sizeof(struct model) / sizeof(lanes) };

static void initialise(struct model *model)
{
    memset(model, 0, sizeof *model);
    for (int input = 0; input < PIXELS; input++)
        for (int unit = 0; unit < HIDDEN; unit++)
            model->first[input][unit / LANES][unit % LANES] =
                (float)(random_normal() * sqrt(2.0 / PIXELS));
    for (int input = 0; input < HIDDEN; input++)
        for (int unit = 0; unit < HIDDEN; unit++)
            model->second[input][unit / LANES][unit % LANES] =
                (float)(random_normal() * sqrt(2.0 / HIDDEN));
    for (int input = 0; input < HIDDEN; input++)
        for (int class = 0; class < CLASSES; class++)
            model->third[input][class] = (float)(random_normal() * sqrt(2.0 / HIDDEN));
}

// The inputs of a layer that are not zero.
struct sparse {
    uint32_t count;
    const uint16_t *inputs;
    const float *values;
};

static inline struct sparse sample_of(const struct samples *samples, uint32_t sample)
{
    uint32_t start = samples->starts[sample];
    return (struct sparse){samples->starts[sample + 1] - start, samples->pixels + start,
                           samples->values + start};
}

// What a hidden layer gives: its units, and those above zero as a list.
struct activity {
    lanes units[WIDE];
    uint32_t count;
    uint16_t inputs[PADDED];
    float values[PADDED];
};

static inline struct sparse list_of(const struct activity *activity)
{
    return (struct sparse){activity->count, activity->inputs, activity->values};
}

static inline void layer(struct activity *restrict activity, const lanes *restrict rows,
                         const lanes *restrict bias, struct sparse from)
{
    lanes sums[WIDE];
    for (int wide = 0; wide < WIDE; wide++)
        sums[wide] = bias[wide];
    for (uint32_t entry = 0; entry < from.count; entry++) {
        const lanes *row = rows + from.inputs[entry] * WIDE;
        const float value = from.values[entry];
        for (int wide = 0; wide < WIDE; wide++)
            sums[wide] += row[wide] * value;
    }
    for (int wide = 0; wide < WIDE; wide++)
        activity->units[wide] = where(sums[wide] > 0, sums[wide]);
    // Without a branch: each unit is written, and kept if it is above zero.
    uint32_t count = 0;
    for (int unit = 0; unit < HIDDEN; unit++) {
        float value = ((const float *)activity->units)[unit];
        activity->inputs[count] = (uint16_t)unit;
        activity->values[count] = value;
        count += value > 0;
    }
    activity->count = count;
}

static inline lanes logits_of(const struct model *model, const struct activity *from)
{
    lanes a = model->third_bias, b = {0};
    uint32_t entry = 0;
    for (; entry + 2 <= from->count; entry += 2) {
        a += model->third[from->inputs[entry]] * from->values[entry];
        b += model->third[from->inputs[entry + 1]] * from->values[entry + 1];
    }
    if (entry < from->count)
        a += model->third[from->inputs[entry]] * from->values[entry];
    return a + b;
}

static inline float sum_of(lanes x)
{
    float sums[8];
    for (int i = 0; i < 8; i++)
        sums[i] = x[i] + x[i + 8];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// row -= signal * value
static inline void take_off(lanes *restrict row, const lanes *restrict signal, float value)
{
    for (int wide = 0; wide < WIDE; wide++)
        row[wide] -= signal[wide] * value;
}

// One step of gradient descent on samples `batch`.
static void step(struct model *restrict model, const struct samples *restrict samples,
                 const uint32_t *restrict batch, uint32_t count, float learning_rate)
{
    static struct activity first[BATCH], second[BATCH];
    // Signals are already scaled by the learning rate and the batch.
    static lanes first_signal[BATCH][WIDE], second_signal[BATCH][WIDE], error[BATCH];
    const float rate = learning_rate / (float)count;

    for (uint32_t n = 0; n < count; n++) {
        layer(&first[n], model->first[0], model->first_bias, sample_of(samples, batch[n]));
        layer(&second[n], model->second[0], model->second_bias, list_of(&first[n]));
        lanes probabilities = softmax(logits_of(model, &second[n]));
        probabilities[samples->labels[batch[n]]] -= 1;
        error[n] = probabilities * rate;
    }

    // The output layer. Signals of units that are zero stay zero.
    memset(second_signal, 0, sizeof second_signal);
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t entry = 0; entry < second[n].count; entry++) {
            uint32_t unit = second[n].inputs[entry];
            ((float *)second_signal[n])[unit] = sum_of(model->third[unit] * error[n]);
        }
    for (uint32_t n = 0; n < count; n++) {
        model->third_bias -= error[n];
        for (uint32_t entry = 0; entry < second[n].count; entry++)
            model->third[second[n].inputs[entry]] -= error[n] * second[n].values[entry];
    }

    // The second layer, a row at a time.
    memset(first_signal, 0, sizeof first_signal);
    for (int input = 0; input < HIDDEN; input++) {
        lanes row[WIDE], next[WIDE];
        for (int wide = 0; wide < WIDE; wide++)
            row[wide] = next[wide] = model->second[input][wide];
        for (uint32_t n = 0; n < count; n++) {
            float value = ((const float *)first[n].units)[input];
            if (value > 0) {
                lanes dot = {0};
                for (int wide = 0; wide < WIDE; wide++) {
                    dot += row[wide] * second_signal[n][wide];
                    next[wide] -= second_signal[n][wide] * value;
                }
                ((float *)first_signal[n])[input] = sum_of(dot);
            }
        }
        for (int wide = 0; wide < WIDE; wide++)
            model->second[input][wide] = next[wide];
    }
    for (uint32_t n = 0; n < count; n++)
        take_off(model->second_bias, second_signal[n], 1);

    // The first layer.
    for (uint32_t n = 0; n < count; n++) {
        take_off(model->first_bias, first_signal[n], 1);
        const struct sparse sample = sample_of(samples, batch[n]);
        for (uint32_t entry = 0; entry < sample.count; entry++)
            take_off(model->first[sample.inputs[entry]], first_signal[n], sample.values[entry]);
    }
}

static double accuracy_of(const struct model *model, const struct samples *samples)
{
    static struct activity first, second;
    uint32_t correct = 0;
    for (uint32_t sample = 0; sample < samples->count; sample++) {
        layer(&first, model->first[0], model->first_bias, sample_of(samples, sample));
        layer(&second, model->second[0], model->second_bias, list_of(&first));
        correct += highest_class(logits_of(model, &second)) == samples->labels[sample];
    }
    return (double)correct / samples->count;
}

// ---- --check

static struct model checked, stepped;
static int nudged_layer, nudged_input, nudged_output;
static double nudge;

static float parameter(const struct model *model, int layer, int input, int output)
{
    int width = layer == 0 ? PIXELS : HIDDEN;
    if (layer == 2)
        return (input == width ? model->third_bias : model->third[input])[output];
    const lanes *rows = layer == 0 ? model->first[0] : model->second[0];
    const lanes *bias = layer == 0 ? model->first_bias : model->second_bias;
    return ((const float *)(input == width ? bias : rows + input * WIDE))[output];
}

static double checked_parameter(int layer, int input, int output)
{
    bool is_nudged = layer == nudged_layer && input == nudged_input && output == nudged_output;
    return parameter(&checked, layer, input, output) + (is_nudged ? nudge : 0);
}

// The gradient that a step of rate 1 takes off, against central differences.
static void check(const struct samples *samples)
{
    const int widths[] = {PIXELS, HIDDEN, HIDDEN, CLASSES};
    uint32_t batch[BATCH];
    for (uint32_t n = 0; n < BATCH; n++)
        batch[n] = n;
    initialise(&checked);
    stepped = checked;
    step(&stepped, samples, batch, BATCH, 1);
    double worst = 0;
    for (int trial = 0; trial < 300; trial++) {
        // Every third trial a layer; pixels of the middle, which are not zero.
        int layer = trial % 3;
        int input = layer == 0 ? 300 + (int)(random_u64() % 200)
                               : (int)(random_u64() % (uint64_t)widths[layer]);
        if (trial % 10 == 0)
            input = widths[layer];
        int output = (int)(random_u64() % (uint64_t)widths[layer + 1]);
        nudged_layer = layer, nudged_input = input, nudged_output = output;
        nudge = 1e-5;
        double above = plain_loss(samples, BATCH, 3, widths, checked_parameter);
        nudge = -1e-5;
        double below = plain_loss(samples, BATCH, 3, widths, checked_parameter);
        double expected = (above - below) / 2e-5;
        double taken = parameter(&checked, layer, input, output) -
                       parameter(&stepped, layer, input, output);
        double error = fabs(taken - expected) / fmax(fabs(expected), 1e-2);
        worst = error > worst ? error : worst;
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
    int round = 0;
    while (round < ROUNDS_MAX && accuracy < TARGET) {
        round++;
        uint32_t clients[CLIENTS];
        for (uint32_t client = 0; client < CLIENTS; client++)
            clients[client] = client;
        shuffle(clients, CLIENTS);
        memset(&sum, 0, sizeof sum);
        for (uint32_t n = 0; n < SELECTED; n++) {
            for (uint32_t i = 0; i < SHARE; i++)
                order[i] = clients[n] * SHARE + i;
            local = global;
            for (int epoch = 0; epoch < EPOCHS; epoch++) {
                shuffle(order, SHARE);
                for (uint32_t start = 0; start < SHARE; start += BATCH)
                    step(&local, &train, order + start, BATCH, LEARNING_RATE);
            }
            for (size_t i = 0; i < MODEL_LANES; i++)
                ((lanes *)&sum)[i] += ((lanes *)&local)[i];
        }
        for (size_t i = 0; i < MODEL_LANES; i++)
            ((lanes *)&global)[i] = ((lanes *)&sum)[i] * (1.0f / SELECTED);
        accuracy = accuracy_of(&global, &test);
    }
    report("W2", accuracy, round, load_cpu_seconds);
    return accuracy >= TARGET ? 0 : 1;
}
