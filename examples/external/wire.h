/* What every worker of Wattfarm needs of the wire (docs/worker-protocol.md): frames, answers, the mapped file, the timed loop.
 * Include it in one C file, as worker.c does. POSIX only, little-endian machines only.
 *
 * JSON is not parsed but scanned for the text "key": wherever it stands first. That is enough for what the daemon writes (no
 * spaces, no key twice on the way to what is looked for), but not for names or paths with quotes or escapes in them: a worker
 * that is more than an example takes a JSON library. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOST 3                     /* exit code of a worker whose daemon has gone */

static int wire;                   /* our end of the socket pair */
static char request[1 << 20];      /* the frame being answered; the protocol allows 16 MiB, this example 1 */
static long long id;               /* its number */
static char *map;                  /* the tensor file, NULL before there is one */
static long long map_bytes;
static volatile sig_atomic_t news; /* something arrived: the timed loop stops */

static void on_news(int signal) {
    (void)signal;
    news = 1;
}

/* Take the descriptor of "--fd N". A signal tells when something arrives, so that the timed loop need not ask. */
static void open_wire(int argc, char **argv) {
    for (int at = 1; at + 1 < argc; at++)
        if (!strcmp(argv[at], "--fd")) wire = atoi(argv[at + 1]);
    if (!wire) {
        fprintf(stderr, "usage: %s --fd N\n", argv[0]);
        exit(2);
    }
    fcntl(wire, F_SETFD, FD_CLOEXEC);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the daemon, which then closes the wire */
    signal(SIGIO, on_news);
    fcntl(wire, F_SETOWN, getpid());
    fcntl(wire, F_SETFL, O_ASYNC);
}

static long long clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Return what follows "key": in a text, or NULL. */
static const char *member(const char *json, const char *key) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *at = strstr(json, pattern);
    return at ? at + strlen(pattern) : NULL;
}

/* Return a whole number of the request; `otherwise` where it is missing or null. */
static long long number(const char *key, long long otherwise) {
    const char *at = member(request, key);
    char *end = NULL;
    long long value = at ? strtoll(at, &end, 10) : 0;
    return at && end > at ? value : otherwise;
}

/* Return a text of the request, "" where it is missing or null. It stays until eight more have been asked for. */
static const char *text(const char *key) {
    static char found[8][4096];
    static unsigned turn;
    const char *at = member(request, key);
    char *into = found[turn++ % 8];
    snprintf(into, sizeof found[0], "%.*s", at && *at == '"' ? (int)strcspn(at + 1, "\"") : 0, at ? at + 1 : "");
    return into;
}

/* Wait for the next request. Without a daemon the process ends: the device must not stay taken. */
static void receive(void) {
    uint32_t size;
    if (recv(wire, &size, 4, MSG_WAITALL) != 4) exit(LOST);
    size = ntohl(size);
    if (size >= sizeof request) {
        fprintf(stderr, "A request of %u bytes is larger than this worker takes.\n", size);
        exit(LOST);
    }
    if (recv(wire, request, size, MSG_WAITALL) != (ssize_t)size) exit(LOST);
    request[size] = 0;
    id = number("id", 0);
}

/* Send one frame: {"id":<id>, and what the format makes; it ends with the closing brace. */
static void say(const char *format, ...) {
    static char frame[8192];
    va_list values;
    va_start(values, format);
    int size = sprintf(frame + 4, "{\"id\":%lld,", id);
    size += vsnprintf(frame + 4 + size, sizeof frame - 64, format, values);
    va_end(values);
    uint32_t prefix = htonl(size);
    memcpy(frame, &prefix, 4);
    if (send(wire, frame, size + 4, MSG_NOSIGNAL) != size + 4) exit(LOST);
}

static void fail(const char *kind, const char *message, const char *details) {
    say("\"ok\":false,\"error\":{\"kind\":\"%s\",\"message\":\"%s\",\"details\":{%s}}}", kind, message, details);
}

/* Return the memory object. `told` takes it. */
static const char *memory(char told[128]) {
    long pages = 0;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    snprintf(told, 128, "{\"rss_bytes\":%ld,\"peak_rss_bytes\":%ld,\"device_bytes\":null}",
             pages * sysconf(_SC_PAGESIZE), used.ru_maxrss * 1024);
    return told;
}

/* Answer `map`: let go of the last tensor file and take this one. */
static void map_file(void) {
    long long size = number("size_bytes", 0);
    int fd = open(text("path"), O_RDWR | O_CLOEXEC);
    char *fresh = MAP_FAILED;
    if (fd >= 0 && size > 0 && lseek(fd, 0, SEEK_END) >= size)
        fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (fresh == MAP_FAILED) {
        fail("ProtocolError", "The tensor file cannot be mapped.", "");
        return;
    }
    if (map) munmap(map, map_bytes);
    map = fresh, map_bytes = size;
    say("\"ok\":true}");
}

/* Set the line that an instrument records beside the power, where the board has one. */
static int mark(const char *level) {
    const char *path = getenv("WATTFARM_MARKER");
    if (!path || !*path) return 1;
    int fd = open(path, O_WRONLY | O_CLOEXEC), is_set = fd >= 0 && pwrite(fd, level, 1, 0) == 1;
    if (fd >= 0) close(fd);
    return is_set;
}

/* Write all starts, then all ends. */
static int write_times(const char *path, const int64_t *starts, const int64_t *ends, size_t count) {
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    int fits = fwrite(starts, 8, count, file) == count && fwrite(ends, 8, count, file) == count;
    return !fclose(file) && fits;
}

/* While a request runs, the daemon sends nothing but the cancel of it. Answer that; was it one? */
static int answer_cancel(long long running) {
    receive();
    int is_cancel = !strcmp(text("op"), "cancel") && number("target", -1) == running;
    say("\"ok\":true,\"cancelled\":%s}", is_cancel ? "true" : "false");
    id = running;
    return is_cancel;
}

/* Answer `benchmark` with one request in flight: call `run(x, y, rows)` again and again. `first_ns` is of the first inference
 * after the load; `is_finite` looks at the outputs of the last. */
static void benchmark(void (*run)(const float *, float *, long long), const float *x, float *y, long long rows,
                      long long first_ns, int (*is_finite)(const float *, long long)) {
    long long duration = number("duration_ns", 0), least = number("min_count", 1), running = id;
    long long most = number("max_duration_ns", INT64_MAX / 2);
    long long warmup = number("warmup_ns", 0), warmup_count = number("warmup_count", 0);
    char path[4096], before[128], after[128];
    snprintf(path, sizeof path, "%s", text("times_path"));
    struct pollfd came = {.fd = wire, .events = POLLIN};
    news = poll(&came, 1, 0) > 0; /* from here on the signal tells */

    say("\"event\":\"progress\",\"phase\":\"warmup\"}");
    long long begin = clock_ns(CLOCK_MONOTONIC), now = begin, count = 0;
    do {
        run(x, y, rows);
        now = clock_ns(CLOCK_MONOTONIC);
    } while (++count && !news && (now < begin + warmup || count < warmup_count));

    /* Room for half again as many requests as the warm-up foretells, every page of it touched before the window. A worker
     * that is faster than its warm-up would go on in further arrays, taken between two requests; this one stops. */
    size_t room = 3 * (duration / ((now - begin) / count + 1)) / 2 + least + 1024, done = 0;
    memory(before);
    int64_t *starts = malloc(room * 8), *ends = malloc(room * 8);
    memset(starts, 1, room * 8), memset(ends, 1, room * 8);
    say("\"event\":\"progress\",\"phase\":\"running\"}");
    long long cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), window = clock_ns(CLOCK_MONOTONIC), end = window;
    int is_marked = mark("1");
    while (!news && done < room) { /* the timed loop: nothing else happens in it */
        starts[done] = clock_ns(CLOCK_MONOTONIC);
        run(x, y, rows);
        end = ends[done++] = clock_ns(CLOCK_MONOTONIC);
        if (end >= window + most || (end >= window + duration && (long long)done >= least)) break;
    }
    cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    is_marked &= mark("0");

    int is_cancelled = news && answer_cancel(running), is_written = write_times(path, starts, ends, done);
    free(starts), free(ends);
    if (is_cancelled)
        fail("Cancelled", "The benchmark was cancelled.", "");
    else if (!is_marked)
        fail("OptionInvalid", "The marker line cannot be set.", "\"option\":\"WATTFARM_MARKER\"");
    else if (!is_written || !done)
        fail("ProtocolError", "The times cannot be written.", "");
    else
        say("\"ok\":true,\"requests\":%zu,\"batch\":%lld,\"in_flight\":1,\"first_ns\":%lld,\"window_start_ns\":%lld,"
            "\"window_end_ns\":%lld,\"outputs_finite\":%s,\"device_time_ns\":null,\"cpu_time_ns\":%lld,\"memory\":%s,"
            "\"memory_end\":%s}", done, rows, first_ns, window, end, is_finite(y, rows) ? "true" : "false", cpu, before,
            memory(after));
}
