/* Serves one model with one input and one output over the wire: every operation of docs/worker-protocol.md, for a C file that says
 * what it runs. That file defines, before it includes this one,
 *
 *     RUNTIME, VERSION, FORMAT, DEVICE, PRECISION     texts: its names, and what it takes
 *     COLUMNS                                         both tensors are float32 of [n, COLUMNS]
 *     static const char *open_model(const char *path) load the model; NULL, or why not, in a sentence
 *     static void close_model(void)                   give it back
 *     static void run(const float *x, float *y, long long rows)   one inference
 *
 * and calls serve(argc, argv) in its main. */
#include <math.h>

#include "wire.h"

#define SPEC(name) "[{\"name\":\"" name "\",\"dtype\":\"float32\",\"shape\":[-1,%d]}]"

static int is_loaded;
static char scenario[16]; /* the load option that hostctl always sends, or "" */
static long long first_ns;

static void run_first(const float *x, float *y, long long rows) {
    long long begin = clock_ns(CLOCK_MONOTONIC);
    run(x, y, rows);
    if (!first_ns) first_ns = clock_ns(CLOCK_MONOTONIC) - begin;
}

static int is_finite(const float *y, long long rows) {
    for (long long at = 0; at < rows * COLUMNS; at++)
        if (!isfinite(y[at])) return 0;
    return 1;
}

static void describe(const char *more) {
    say("\"ok\":true,\"spec\":{\"inputs\":" SPEC("x") ",\"outputs\":" SPEC("y") "},\"optimal_in_flight\":1,\"describe\":{"
        "\"runtime\":\"" RUNTIME "\",\"version\":\"" VERSION "\",\"device\":\"" DEVICE "\",\"requested\":{%s%s%s},"
        "\"fallbacks\":[],\"effective\":{\"device\":\"" DEVICE "\",\"precision\":\"" PRECISION "\"}}%s}",
        COLUMNS, COLUMNS, *scenario ? "\"scenario\":\"" : "", scenario, *scenario ? "\"" : "", more);
}

static void load(void) {
    long long begin = clock_ns(CLOCK_MONOTONIC);
    const char *options = member(request, "options"), *precision = text("precision");
    char more[256], told[128];
    int end = 0;
    if (is_loaded) return fail("ProtocolError", "A model is loaded already; unload it first.", "");
    if (strcmp(text("format"), FORMAT)) return fail("FormatUnsupported", "It takes the format '" FORMAT "'.", "");
    scenario[0] = 0;
    if (options && sscanf(options, "{\"scenario\":\"%15[a-z]\"}%n", scenario, &end) == 1 && end) options = "{}";
    if (options && strncmp(options, "{}", 2)) return fail("OptionInvalid", "The only option is scenario.", "");
    if (number("batch", 0)) return fail("OptionInvalid", "The batch is open; leave the option batch out.", "");
    if (*precision && strcmp(precision, PRECISION)) return fail("PrecisionUnsupported", "There is only " PRECISION ".", "");
    const char *why = open_model(text("path"));
    if (why) return fail("ModelInvalid", why, "");
    is_loaded = 1, first_ns = 0;
    snprintf(more, sizeof more, ",\"load_ns\":%lld,\"memory\":%s", clock_ns(CLOCK_MONOTONIC) - begin, memory(told));
    describe(more);
}

/* Return the input that the request names, checked as far as anything depends on it, or answer why not. */
static const float *input(long long *rows) {
    long long offset = number("offset", -1), nbytes = number("nbytes", -1), columns = 0;
    const char *shape = member(request, "shape");
    int end = 0;
    if (!map) return fail("NotLoaded", "No tensor file is mapped.", ""), NULL;
    if (strcmp(text("name"), "x")) return fail("InputInvalid", "The input is 'x'.", "\"field\":\"name\""), NULL;
    if (strcmp(text("dtype"), "float32")) return fail("InputInvalid", "'x' is float32.", "\"field\":\"dtype\""), NULL;
    if (!shape || sscanf(shape, "[%lld,%lld]%n", rows, &columns, &end) != 2 || !end || *rows < 1 || columns != COLUMNS || nbytes != *rows * COLUMNS * 4)
        return fail("InputInvalid", "'x' has another shape than the spec says.", "\"field\":\"shape\""), NULL;
    if (offset < 0 || offset % 64 || offset > map_bytes - nbytes)
        return fail("ProtocolError", "The tensor lies outside of the file.", ""), NULL;
    return (const float *)(map + offset);
}

static void infer(void) {
    long long rows, offset = (number("output_offset", 0) + 63) / 64 * 64;
    const float *x = input(&rows);
    char needed[64];
    if (!x) return;
    snprintf(needed, sizeof needed, "\"needed_bytes\":%lld", offset + rows * COLUMNS * 4);
    if (offset < 0 || offset + rows * COLUMNS * 4 > map_bytes)
        return fail("BufferTooSmall", "The outputs do not fit into the tensor file.", needed);
    long long start = clock_ns(CLOCK_MONOTONIC);
    run_first(x, (float *)(map + offset), rows);
    say("\"ok\":true,\"start_ns\":%lld,\"end_ns\":%lld,\"outputs\":[{\"name\":\"y\",\"dtype\":\"float32\",\"shape\":[%lld,%d],"
        "\"offset\":%lld,\"nbytes\":%lld}]}", start, clock_ns(CLOCK_MONOTONIC), rows, COLUMNS, offset, rows * COLUMNS * 4);
}

static void benchmark_model(void) {
    static float ones[COLUMNS]; /* for a request that brings no inputs */
    const char *kind = text("scenario"), *inputs = member(request, "inputs");
    const float *given = ones;
    for (int at = 0; at < COLUMNS; at++) ones[at] = 1;
    long long rows = 1;
    if (strcmp(kind, "latency") && strcmp(kind, "throughput"))
        return fail("ProtocolError", "The scenario is neither latency nor throughput.", "");
    if (number("in_flight", 1) != 1) return fail("OptionInvalid", "There is one request in flight.", "");
    if (inputs && *inputs == '[' && !(given = input(&rows))) return;
    float *x = malloc(rows * COLUMNS * 4), *y = malloc(rows * COLUMNS * 4);
    memcpy(x, given, rows * COLUMNS * 4); /* the file may change in the window */
    run_first(x, y, rows);
    benchmark(run, x, y, rows, first_ns, is_finite);
    free(x), free(y);
}

static void hello(void) {
    say("\"ok\":true,\"protocol\":1,\"pid\":%d}", (int)getpid());
}

static void probe(void) { /* the name is the operator's: it is told as it was asked for */
    const char *names = member(request, "runtimes"), *name = names && !strncmp(names, "[\"", 2) ? names + 2 : RUNTIME;
    say("\"ok\":true,\"runtimes\":[{\"name\":\"%.*s\",\"available\":true,\"version\":\"" VERSION "\",\"reason\":null,"
        "\"formats\":[\"" FORMAT "\"],\"precisions\":[\"" PRECISION "\"]}]}", (int)strcspn(name, "\""), name);
}

static void describe_again(void) {
    describe("");
}

static void tell_memory(void) {
    char told[128];
    say("\"ok\":true,\"memory\":%s}", memory(told));
}

static void unload(void) {
    is_loaded = 0;
    close_model();
    say("\"ok\":true}");
}

static void cancel(void) { /* nothing runs: a running benchmark takes its cancel itself */
    say("\"ok\":true,\"cancelled\":false}");
}

static const struct {
    const char *op;
    void (*answer)(void);
    int needs_model;
} ops[] = {{"hello", hello, 0},      {"probe", probe, 0},          {"map", map_file, 0},
           {"load", load, 0},        {"infer", infer, 1},          {"benchmark", benchmark_model, 1},
           {"memory", tell_memory, 1}, {"describe", describe_again, 1}, {"unload", unload, 1},
           {"cancel", cancel, 0}};

static int serve(int argc, char **argv) {
    open_wire(argc, argv);
    for (;;) {
        receive();
        const char *op = text("op");
        size_t at = 0, count = sizeof ops / sizeof ops[0];
        if (!strcmp(op, "close")) return say("\"ok\":true}"), 0;
        while (at < count && strcmp(op, ops[at].op)) at++;
        if (at == count) fail("ProtocolError", "The operation is not known.", "");
        else if (ops[at].needs_model && !is_loaded) fail("NotLoaded", "No model is loaded.", "");
        else ops[at].answer();
    }
}
