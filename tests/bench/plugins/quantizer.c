/* Fake-quant forward with one fault, chosen by FAULT; without one it is right. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/plugin.h"

#define NONE 0
#define TIES 1      /* one bin off at ties: rounds them away from zero, declares them to even */
#define BORDER 2    /* clamps one code too late */
#define NAN_PASSES 3
#define TAIL 4      /* forgets what is behind the last eight */
#define SEGFAULT 5
#define LOOP 6
#define ABI 7
#define PAST_END 8  /* one element behind the result */
#define FAR 9       /* a megabyte behind it */
#define INPUT 10    /* writes into x */
#define REFUSES 11  /* answers an error code */
#define EXITS 12
#define BEFORE 13   /* one element before the result */
#define DIVIDES 14  /* declares division, which it does */
#define DIVIDES_UNDECLARED 15
#define AWAY 16     /* declares ties away from zero, which it does */
#define SLOW 17     /* does everything three times */
#define LOADS 18    /* crashes when it is loaded */
#define MULTIPLES 19 /* takes nothing but multiples of eight */

#define UP 20       /* rounds ties up, declares them to even */
#define SLEEPS 21   /* 1.5 seconds, once */
#define TIRES 22    /* answers an error code for the third large tensor */
#define PRINTS 23
#define UNKNOWN 24   /* declares a scaling that no version has */
#define NIBBLES 25   /* wants its codes two a byte */

#ifndef FAULT
#define FAULT NONE
#endif

static float quantize(float x, float step, float low, float high) {
  const float v = FAULT == DIVIDES || FAULT == DIVIDES_UNDECLARED ? x / step : x * (1.0f / step);
  if (FAULT == NAN_PASSES && isnan(v)) return v;
  const float top = FAULT == BORDER ? high + 1 : high;
  const float clamped = fminf(fmaxf(v, low), top);
  if (FAULT == UP) return floorf(clamped + 0.5f) == 0 ? 0.0f : floorf(clamped + 0.5f);
  const float code = FAULT == TIES || FAULT == AWAY ? roundf(clamped) : rintf(clamped);
  return code == 0 ? 0.0f : code;
}

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_fakequant_shape* s = shape;
  (void)self;
  if (FAULT == MULTIPLES && s->cols % 8) return "takes multiples of eight only";
  return s->type == RTFQ_F32 ? NULL : "takes f32 only";
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_fakequant_forward_args* a = args;
  int64_t out = 0;
  (void)self, (void)state, (void)stream;
  if (FAULT == REFUSES) return 7;
  static int slept, large, printed;
  if (FAULT == SLEEPS && !slept++) {
    const struct timespec time = {1, 500000000};
    nanosleep(&time, NULL);
  }
  if (FAULT == TIRES && s->cols == 123457 && ++large == 3) return 7;
  if (FAULT == PRINTS && !printed++) {
    printf("printed to stdout\n");
    fprintf(stderr, "printed to stderr\n");
  }
  if (FAULT == EXITS) exit(3);
  if (FAULT == LOOP)
    for (volatile int i = 0;; ++i) {
    }
  if (FAULT == SEGFAULT) {
    volatile int* volatile nowhere = NULL;
    *nowhere = 1;
  }
  const int64_t count = s->rows * s->groups * s->cols;
  for (int repeat = 0; repeat < (FAULT == SLOW ? 3 : 1); ++repeat) {
    out = 0;
    for (int64_t row = 0; row < s->rows; ++row)
      for (int64_t group = 0; group < s->groups; ++group) {
        const float* x = (const float*)a->x + row * s->row_stride + group * s->group_stride;
        const float step = a->step[s->per_row ? row : 0];
        for (int64_t i = 0; i < s->cols; ++i, ++out) {
          if (FAULT == TAIL && i >= s->cols / 8 * 8) continue;
          const float code = quantize(x[i], step, (float)-s->qn, (float)s->qp);
          if (a->y) ((float*)a->y)[out] = code * step;
          if (a->codes) ((uint8_t*)a->codes)[out] = isnan(code) ? 0 : (uint8_t)(int)code;
        }
      }
    __asm__ volatile("" ::: "memory");
  }
  if (FAULT == PAST_END && a->y) ((float*)a->y)[count] = 1;
  if (FAULT == BEFORE && a->y) ((float*)a->y)[-1] = 1;
  if (FAULT == FAR && a->y) ((volatile float*)a->y)[count + 1000] = 1;
  if (FAULT == INPUT) ((float*)(uintptr_t)a->x)[0] += 1;
  return 0;
}

static const char* error(const rtfq_operator* self) {
  (void)self;
  return "no more of this";
}

static const rtfq_operand codes = {"codes", 1u << RTFQ_U8, RTFQ_LAYOUT_DENSE, RTFQ_LOW_NIBBLE_FIRST};
static const rtfq_operator op = {
    .family = "fakequant.forward",
    .name = "test",
    .device = RTFQ_CPU,
    .operands = &codes,
    .operand_count = FAULT == NIBBLES,
    .scaling = FAULT == UNKNOWN ? (rtfq_scaling)7 : FAULT == DIVIDES ? RTFQ_DIVISION : RTFQ_RECIPROCAL,
    .ties = FAULT == AWAY ? RTFQ_TIES_AWAY : RTFQ_TIES_EVEN,
    .unsupported = unsupported,
    .launch = launch,
    .error = error,
};
static const rtfq_operator* const operators[] = {&op};
static const rtfq_plugin table = {FAULT == ABI ? RTFQ_PLUGIN_ABI + 41 : RTFQ_PLUGIN_ABI, 0, "test", "1", 1, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  if (FAULT == LOADS) abort();
  return &table;
}
