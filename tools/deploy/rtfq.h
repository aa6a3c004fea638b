/* librtfq: runs packed RTF-Q models (docs/deploy.md) from any language that can call C.
 *
 * Functions return RTFQ_OK or say in rtfq_error() what was expected and what came. A model may be used by any
 * number of threads at once; a context by one thread at a time. Making a context lays out weights and memory;
 * after that rtfq_run and rtfq_switch allocate no memory for tensors. */
#ifndef RTFQ_H
#define RTFQ_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define RTFQ_API __attribute__((visibility("default")))
#else
#define RTFQ_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when functions are added; functions never change. */
#define RTFQ_API_VERSION 1
RTFQ_API int rtfq_api_version(void);

typedef enum rtfq_status {
  RTFQ_OK = 0,
  RTFQ_INVALID_ARGUMENT = 1,
  RTFQ_BAD_FILE = 2, /* cannot be opened, damaged, or of a later version */
  RTFQ_NOTHING_FITS = 3,
  RTFQ_OUT_OF_MEMORY = 4,
  RTFQ_FAILED = 5
} rtfq_status;

/* What went wrong in the calling thread's last call that failed. Valid until its next call. */
RTFQ_API const char* rtfq_error(void);

typedef struct rtfq_model rtfq_model;     /* a file, its weights */
typedef struct rtfq_context rtfq_context; /* a chosen subnet, threads, memory for activations */

/* Maps the file, which must not be changed in place while the model lives. */
RTFQ_API rtfq_status rtfq_load_file(const char* path, rtfq_model** model);
/* Copies the bytes. */
RTFQ_API rtfq_status rtfq_load_buffer(const void* bytes, size_t size, rtfq_model** model);
/* Contexts keep what they need of their model: the order of freeing does not matter. NULL is allowed. */
RTFQ_API void rtfq_free_model(rtfq_model* model);

RTFQ_API int rtfq_class_count(const rtfq_model* model);
/* NULL for an index outside 0..count-1. Lives as long as the model. */
RTFQ_API const char* rtfq_class_name(const rtfq_model* model, int index);
RTFQ_API int rtfq_channels(const rtfq_model* model); /* of images: 1 (grey) or 3 (RGB) */

typedef struct rtfq_subnet_info {
  const char* id; /* "w0.9-d1-r160-b4"; lives as long as the model */
  double width, depth;
  int resolution, bits;
  int64_t params, bytes, macs, bitops,
      memory;        /* of one image; bytes: packed weights; memory: with activations */
  double score;      /* by the file's first criterion; NaN where it is not known */
  double latency_ms; /* what rtfq_measure found; NaN before */
} rtfq_subnet_info;
RTFQ_API int rtfq_subnet_count(const rtfq_model* model);
RTFQ_API rtfq_status rtfq_subnet(const rtfq_model* model, int index, rtfq_subnet_info* info);
/* What the scores mean: "accuracy on the target's labels, percent". NULL where there are none. */
RTFQ_API const char* rtfq_score_meaning(const rtfq_model* model);

/* Upper limits on one image's costs; 0: none. latency_ms counts subnets that rtfq_measure has measured. */
typedef struct rtfq_limits {
  double macs, bitops, bytes, memory, latency_ms;
} rtfq_limits;
/* The best subnet within the limits: of the highest score, of equals the one of fewest BitOPs; where the file
 * has no scores the one of most BitOPs. `criterion`: NULL for the file's first. RTFQ_NOTHING_FITS where none
 * does. */
RTFQ_API rtfq_status rtfq_select(const rtfq_model* model, const rtfq_limits* limits, const char* criterion,
                                 int* index);

/* Zeros are defaults. */
typedef struct rtfq_context_options {
  int threads;        /* 0: OpenMP's */
  int batch;          /* images that runs come in; 0: 1 */
  const int* subnets; /* that the context can switch between; NULL: all */
  int subnet_count;
} rtfq_context_options;
/* Makes every one of its subnets ready and begins with the first. `options` may be NULL. */
RTFQ_API rtfq_status rtfq_new_context(rtfq_model* model, const rtfq_context_options* options,
                                      rtfq_context** context);
RTFQ_API void rtfq_free_context(rtfq_context* context);
/* Another of the context's subnets, from the next run on. */
RTFQ_API rtfq_status rtfq_switch(rtfq_context* context, int subnet);
RTFQ_API int rtfq_current(const rtfq_context* context);
/* Bytes resident for this context's activations, and for all prepared weights of its model. */
RTFQ_API size_t rtfq_context_bytes(const rtfq_context* context);
RTFQ_API size_t rtfq_weight_bytes(const rtfq_context* context);

/* Logits [count][classes] of normalized images [count][r][r][channels], r the current subnet's resolution.
 * A batch of at least as many images as threads is shared out among them, up to eight images at a time; a
 * smaller one is computed by all threads together, whole: what is left of one is padded. */
RTFQ_API rtfq_status rtfq_run(rtfq_context* context, const float* images, int count, float* logits);

typedef enum rtfq_format {
  RTFQ_GRAY8 = 0,
  RTFQ_RGB8 = 1,
  RTFQ_BGR8 = 2,
  RTFQ_RGBA8 = 3,
  RTFQ_BGRA8 = 4
} rtfq_format;
/* Pixels of any size, row by row. Transparent ones are composited on black; colour becomes grey where the
 * model wants it. */
typedef struct rtfq_image {
  const uint8_t* pixels;
  int width, height;
  ptrdiff_t
      stride; /* bytes from a row to the next, negative for bottom-up images; 0: rows follow each other */
  rtfq_format format;
} rtfq_image;
/* Logits of images that are resized, cropped and normalized exactly as evaluation did it. */
RTFQ_API rtfq_status rtfq_run_image(rtfq_context* context, const rtfq_image* image, float* logits);
RTFQ_API rtfq_status rtfq_run_images(rtfq_context* context, const rtfq_image* images, int count,
                                     float* logits);

/* Softmax in place: probabilities of `classes` logits. */
RTFQ_API void rtfq_softmax(float* logits, int classes);

/* Median milliseconds of `runs` passes of a subnet of the context; rtfq_select uses it from then on. */
RTFQ_API rtfq_status rtfq_measure(rtfq_context* context, int subnet, int runs, double* milliseconds);

#ifdef __cplusplus
}
#endif
#endif
