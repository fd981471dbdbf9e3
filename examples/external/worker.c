/* A worker of Wattfarm without Python: y = factor * x, where the model file holds the factor as text.
 *
 * This file is what you write for an accelerator of your own: put your driver's calls where the comments say so. serve.h answers
 * the daemon, wire.h holds frames, the mapped tensor file and the timed loop. See README.md. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNTIME "example"
#define VERSION "1.0" /* your driver's, asked at run time if it tells */
#define FORMAT "factor"
#define DEVICE "cpu"
#define PRECISION "float32"
#define COLUMNS 8

struct model {
    float factor;
};
static struct model *loaded;

/* Load the model: open the device, send it the network, allocate its buffers. Return NULL, or why it cannot be done in a sentence
 * for the daemon's client. What your driver prints to stderr is kept in farmd's log. */
static const char *open_model(const char *path) {
    FILE *file = fopen(path, "r");
    struct model *fresh = malloc(sizeof *fresh);
    int is_read = file && fresh && fscanf(file, "%f", &fresh->factor) == 1;
    if (file) fclose(file);
    if (!is_read) {
        free(fresh);
        return "The model file is missing or does not begin with a number.";
    }
    loaded = fresh;
    return NULL;
}

/* Give everything back: the same process may be asked to load again. */
static void close_model(void) {
    free(loaded);
    loaded = NULL;
}

/* One inference, from `rows` samples to as many results. The timed loop calls this and nothing else, so what it does is what is
 * measured: copies to the device belong here if a user would have to wait for them. */
static void run(const float *x, float *y, long long rows) {
    struct timespec pause = {0, 100000}; /* stands for waiting on the device */
    nanosleep(&pause, NULL);
    for (long long at = 0; at < rows * COLUMNS; at++) y[at] = loaded->factor * x[at];
}

#include "serve.h"

int main(int argc, char **argv) {
    return serve(argc, argv);
}
