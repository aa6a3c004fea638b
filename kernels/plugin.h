/* Bring your own kernel: the plain C interface that a shared library implements (docs/lab.md). One function,
 * rtfq_plugin_entry, answers a table of operators; `rtfq-bench` verifies and times them, `rtfq train --kernel` trains
 * with them. Nothing here needs C++ or this project's libraries; this header and shapes.h are all there is.
 *
 * Pointers in arguments are 64-byte aligned at the start of every dense tensor, in the device's memory. A launch may
 * use threads, must not allocate what it could have kept in its state, and writes its outputs and the workspace only.
 * Functions are called by one thread at a time. */
#ifndef RTFQ_KERNELS_PLUGIN_H
#define RTFQ_KERNELS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__has_include)
#if __has_include("kernels/shapes.h")
#include "kernels/shapes.h"
#else
#include "shapes.h"
#endif
#else
#include "shapes.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a struct below or in shapes.h changes; families that are added change nothing for those that were there.
 * The host refuses a plug-in of another version by name. */
#define RTFQ_PLUGIN_ABI 2

/* Where an operator's pointers live and its launch runs. RTFQ_SIMT: CUDA C++ compiled for the executor of
 * docs/simt.md; pointers are the host's. */
typedef enum rtfq_device { RTFQ_CPU = 0, RTFQ_CUDA_DEVICE = 1, RTFQ_SIMT = 2 } rtfq_device;

/* How a quantizer rounds: v, then the integer nearest to v. The lab has an exact reference for each combination.
 * What this project's own kernels do is RTFQ_RECIPROCAL with RTFQ_TIES_EVEN. */
typedef enum rtfq_scaling {
  RTFQ_RECIPROCAL = 0, /* r = 1/s rounded to f32, v = x*r rounded to f32 */
  RTFQ_DIVISION = 1,   /* v = x/s rounded to f32 */
  RTFQ_EXACT = 2       /* v = x/s in double */
} rtfq_scaling;
typedef enum rtfq_ties {
  RTFQ_TIES_EVEN = 0, /* rintf, cvtps2dq, cvt.rni, numpy.round */
  RTFQ_TIES_AWAY = 1, /* roundf */
  RTFQ_TIES_UP = 2    /* floorf(v + 0.5f) of a v below 2^22, the sum exact */
} rtfq_ties;

/* How an operand lies in memory. The strides of RTFQ_LAYOUT_STRIDED are the shape struct's. */
typedef enum rtfq_layout {
  RTFQ_LAYOUT_DENSE = 0,
  RTFQ_LAYOUT_NHWC = 1,
  RTFQ_LAYOUT_KRSC = 2,
  RTFQ_LAYOUT_STRIDED = 3
} rtfq_layout;
/* Codes of the "int4" families are two a byte, the even one in the low nibble unless an operator says otherwise; of all
 * other families they are one a byte. */
typedef enum rtfq_nibbles { RTFQ_BYTES = 0, RTFQ_LOW_NIBBLE_FIRST = 1, RTFQ_HIGH_NIBBLE_FIRST = 2 } rtfq_nibbles;

/* What an operator takes for one of its operands ("x", "codes", ...: the members of its arguments). Operands that
 * are not listed are taken as the family has them. */
typedef struct rtfq_operand {
  const char* name;
  uint32_t dtypes; /* bits 1 << rtfq_dtype */
  rtfq_layout layout;
  rtfq_nibbles nibbles;
} rtfq_operand;

/* Flags of an operator. */
#define RTFQ_FINITE_ONLY 1u /* not meant for NaN and infinities: the lab leaves them out, and says so */

/* ---- Arguments, one struct a family: what `launch` is given. Shapes are in shapes.h. ---- */

/* "fakequant.forward" on rtfq_fakequant_shape: code = clamp(round(v), -qn, qp), y = code*step. NaN takes the lowest
 * code, infinities clamp. Either output may be NULL. */
typedef struct rtfq_fakequant_forward_args {
  const void* x;     /* strided, see the shape */
  const float* step; /* [1], or [rows] where per_row */
  void* y;           /* dense, of the shape's type, or NULL */
  void* codes;       /* dense, int8_t where qn > 0 else uint8_t, or NULL */
  void* workspace;
} rtfq_fakequant_forward_args;

/* "fakequant.backward": dx = g where -qn < v < qp, else 0 (added to dx where accumulate_dx); ds += grad_scale * sum
 * of g*t, t = -qn where v <= -qn or v is NaN, qp where v >= qp, else round(v) - v. Either output may be NULL. */
typedef struct rtfq_fakequant_backward_args {
  const void* g; /* dense */
  const void* x; /* strided */
  const float* step;
  void* dx; /* strided like x */
  int32_t accumulate_dx;
  float* ds; /* [1] or [rows], always added to */
  float grad_scale;
  void* workspace;
} rtfq_fakequant_backward_args;

/* "fakequant.abs_sum": out = sum of |x|, or of max(x, 0) where qn == 0. */
typedef struct rtfq_fakequant_abs_sum_args {
  const void* x;
  float* out; /* [1] or [rows], overwritten */
  void* workspace;
} rtfq_fakequant_abs_sum_args;

/* "conv2d.forward", "conv2d.dgrad", "conv2d.wgrad" on rtfq_conv2d_shape. `w`: what `prepare` wrote, or the stored
 * KRSC weights where there is no `prepare`. */
typedef struct rtfq_conv2d_forward_args {
  const void* x; /* [n,h,w,c] */
  const void* w;
  void* y; /* [n,p,q,k], overwritten */
  void* workspace;
  const float* scale; /* [k] where x and w are codes: y = scale[k] * sum; NULL otherwise */
} rtfq_conv2d_forward_args;
typedef struct rtfq_conv2d_dgrad_args {
  const void* g; /* [n,p,q,k] */
  const void* w;
  void* dx; /* [n,h,w,c], overwritten */
  void* workspace;
} rtfq_conv2d_dgrad_args;
typedef struct rtfq_conv2d_wgrad_args {
  const void* x;
  const void* g;
  float* dw; /* KRSC slice with c_parent */
  int32_t accumulate;
  void* workspace;
  const float* scale; /* [1], on every sum; NULL: 1 */
} rtfq_conv2d_wgrad_args;

/* "linear.forward", "linear.dgrad", "linear.wgrad" on rtfq_linear_shape. */
typedef struct rtfq_linear_forward_args {
  const void* x;     /* [n,c] */
  const void* w;     /* [k, c of c_parent] */
  const float* bias; /* [k] or NULL */
  void* y;           /* [n,k], overwritten */
  void* workspace;
  const float* scale; /* [k] where x and w are codes; NULL otherwise */
} rtfq_linear_forward_args;
typedef struct rtfq_linear_dgrad_args {
  const void* g;
  const void* w;
  void* dx; /* [n,c], overwritten */
  void* workspace;
} rtfq_linear_dgrad_args;
typedef struct rtfq_linear_wgrad_args {
  const void* x;
  const void* g;
  float* dw;
  float* dbias; /* [k] or NULL */
  int32_t accumulate;
  void* workspace;
} rtfq_linear_wgrad_args;

/* "batchnorm.statistics", ".normalize", ".reduce", ".apply" on rtfq_batchnorm_shape; arrays are [segments][c]. */
typedef struct rtfq_batchnorm_statistics_args {
  const void* x;
  float* mean;
  float* variance; /* biased */
  void* workspace;
} rtfq_batchnorm_statistics_args;
/* y = (x - mean) / sqrt(variance + epsilon) * scale + shift, then max(y, 0) where relu. y may be x. */
typedef struct rtfq_batchnorm_normalize_args {
  const void* x;
  const float* mean;
  const float* variance;
  const float* scale[RTFQ_MAX_SEGMENTS]; /* [c] each */
  const float* shift[RTFQ_MAX_SEGMENTS];
  void* y;
  int32_t relu;
  void* workspace;
} rtfq_batchnorm_normalize_args;
/* sum_g = sum g, sum_gx = sum g*xhat. */
typedef struct rtfq_batchnorm_reduce_args {
  const void* x;
  const void* g;
  const float* mean;
  const float* variance;
  float* sum_g;
  float* sum_gx;
  void* workspace;
} rtfq_batchnorm_reduce_args;
/* dx = scale/sqrt(variance + epsilon) * (g - sum_g/m - xhat*sum_gx/m), m the segment's count. dx may be g. */
typedef struct rtfq_batchnorm_apply_args {
  const void* x;
  const void* g;
  const float* mean;
  const float* variance;
  const float* sum_g;
  const float* sum_gx;
  const float* scale[RTFQ_MAX_SEGMENTS];
  float counts[RTFQ_MAX_SEGMENTS];
  void* dx;
  void* workspace;
} rtfq_batchnorm_apply_args;

/* "relu.forward": y = max(x, 0), a NaN stays (y may be x); "relu.backward": dx = g where y > 0, else 0 (dx may be
 * g); "add": y = a + b (y may be either). On rtfq_elementwise_shape. */
typedef struct rtfq_relu_forward_args {
  const void* x;
  void* y;
  void* workspace;
} rtfq_relu_forward_args;
typedef struct rtfq_relu_backward_args {
  const void* g;
  const void* y;
  void* dx;
  void* workspace;
} rtfq_relu_backward_args;
typedef struct rtfq_add_args {
  const void* a;
  const void* b;
  void* y;
  void* workspace;
} rtfq_add_args;

/* ---- Fused passes of training: a norm, what is added to it, and quantizers. ---- */

/* A convolution's result and how it is normalized; mean and variance are [segments][c]. */
typedef struct rtfq_normquant_input {
  const void* x; /* [n, hw, c] of norm.type */
  const float* mean;
  const float* variance;                 /* biased */
  const float* scale[RTFQ_MAX_SEGMENTS]; /* [c] each */
  const float* shift[RTFQ_MAX_SEGMENTS];
} rtfq_normquant_input;

/* z = norm(main) + residual. norm(x) = (x - mean) * (1/sqrt(variance + epsilon) * scale) + shift. A code is
 * clamp(round(z/step), 0, qp), of a NaN 0. This project's own compute each operation in f32 and the last two of the
 * norm as one; kernels that round in another order differ next to ties, which is counted (docs/lab.md). */
typedef struct rtfq_normquant_operands {
  rtfq_normquant_input main;
  rtfq_normquant_input other; /* RTFQ_RESIDUAL_NORM: its norm is added */
  const void* residual;       /* RTFQ_RESIDUAL_VALUES: norm.type; RTFQ_RESIDUAL_CODES: u8 */
  const float* residual_step; /* [1], RTFQ_RESIDUAL_CODES: what is added is code * step */
  const float* step;          /* [1], > 0 */
  const float* identity_step; /* [1], RTFQ_IDENTITY_CODES */
} rtfq_normquant_operands;

/* "normquant.forward" on rtfq_normquant_shape. */
typedef struct rtfq_normquant_forward_args {
  rtfq_normquant_operands in;
  uint8_t* codes; /* [n, hw, c] */
  void* identity; /* RTFQ_IDENTITY_CODES: u8 of [0, identity_qp]; RTFQ_IDENTITY_VALUES: max(z, 0) of norm.type; or NULL */
  void* workspace;
} rtfq_normquant_forward_args;

/* "normquant.reduce": g_z = g_codes where 0 < z/step < qp, plus g_identity where its own quantizer (or max) passes it,
 * rounded once to norm.type; t as in "fakequant.backward". Sums are of g_z as it is stored (f32 where it is not). */
typedef struct rtfq_normquant_reduce_args {
  rtfq_normquant_operands in;
  const void* g_codes;    /* of norm.type; NULL: zero */
  const void* g_identity; /* the same */
  void* g_z;              /* may be g_codes or g_identity; NULL: not wanted */
  float* sum_g;           /* [segments][c], overwritten, as the two below */
  float* sum_gx;          /* sum g_z * (x - mean)/sqrt(variance + epsilon) */
  float* other_sum_gx;    /* RTFQ_RESIDUAL_NORM */
  float* ds;              /* [1] += grad_scale * sum g_codes*t; NULL: not wanted */
  float* identity_ds;     /* RTFQ_IDENTITY_CODES; NULL: not wanted */
  float grad_scale, identity_grad_scale;
  void* workspace;
} rtfq_normquant_reduce_args;

/* "normquant.apply": dx as in "batchnorm.apply", of g_z. */
typedef struct rtfq_normquant_apply_args {
  rtfq_normquant_operands in;
  const void* g_z;        /* NULL (no residual): made again from the two below */
  const void* g_codes;    /* read only where g_z is NULL */
  const void* g_identity;
  const float* sum_g;
  const float* sum_gx;
  const float* other_sum_gx;
  float counts[RTFQ_MAX_SEGMENTS];
  void* dx;       /* may be g_codes */
  void* other_dx; /* RTFQ_RESIDUAL_NORM; may be g_z */
  void* workspace;
} rtfq_normquant_apply_args;

/* ---- Of deployment: training does not call these. ---- */

/* A convolution of codes and what follows it in one pass. */
typedef struct rtfq_convquant_shape {
  rtfq_conv2d_shape conv;  /* x u8 or s8, w s8, y f32 */
  int32_t quantized;       /* 0: z itself, in f32, and the members below but x_qp say nothing */
  rtfq_residual residual;  /* none, values (f32) or codes */
  rtfq_identity identity;  /* its values are f32 */
  int32_t qp, identity_qp; /* at most 255 */
  int32_t x_qp;            /* no u8 code of x is greater */
} rtfq_convquant_shape;

/* "convquant.forward": y = scale[k]*sum, z = (y - mean[k])*factor[k] + shift[k] + residual, codes of z as in
 * rtfq_normquant_operands. `w`: what `prepare` wrote, or the stored KRSC weights where there is no `prepare`. */
typedef struct rtfq_convquant_forward_args {
  const void* x; /* codes [n,h,w,c] */
  const void* w;
  const float* scale; /* [k], as the next three */
  const float* mean;
  const float* factor;
  const float* shift;
  const void* residual;       /* [n,p,q,k]; may be y or identity */
  const float* residual_step; /* [1], RTFQ_RESIDUAL_CODES */
  const float* step;          /* [1], where quantized */
  const float* identity_step; /* [1], RTFQ_IDENTITY_CODES */
  void* y;                    /* [n,p,q,k]: u8 codes, or z */
  void* identity;             /* u8 codes or f32 values, or NULL */
  void* workspace;
} rtfq_convquant_forward_args;

/* Codes of at most 4 bits, two in a byte. A line of n codes takes (n + 1)/2 bytes; the nibble behind an odd number is
 * 0. Code 2i lies in the low nibble of byte i, or in the high one where the operator says so of its operand "codes" or
 * "weights" (RTFQ_HIGH_NIBBLE_FIRST); signed codes are two's complement.
 *
 * "int4.quantize" on rtfq_fakequant_shape with qn <= 8 and qp <= 15: codes as in "fakequant.forward". */
typedef struct rtfq_int4_quantize_args {
  const void* x; /* strided, see the shape */
  const float* step;
  uint8_t* codes; /* rows*groups lines of cols codes */
  void* workspace;
} rtfq_int4_quantize_args;

/* "int4.conv2d" on rtfq_conv2d_shape with w_type s8: as "conv2d.forward" on codes. */
typedef struct rtfq_int4_conv2d_args {
  const void* x;       /* [n,h,w,c], codes of 8 bits */
  const void* weights; /* [k][r][s] lines of c_parent codes */
  void* y;             /* [n,p,q,k], overwritten; s32: the sums themselves */
  const float* scale;  /* [k]; not read where y is s32 */
  void* workspace;
} rtfq_int4_conv2d_args;

/* ---- An operator and the table ---- */

typedef struct rtfq_operator rtfq_operator;
/* `self` is the table's own entry, so that a library may wrap it in a larger struct of its own. `stream` is a
 * cudaStream_t on RTFQ_CUDA_DEVICE, NULL elsewhere. Functions that answer int answer 0 for success. */
struct rtfq_operator {
  const char* family; /* "fakequant.forward" */
  const char* name;   /* one word; the lab calls it "plugin:NAME" */
  rtfq_device device;
  rtfq_scaling scaling; /* of quantizers; others leave both 0 */
  rtfq_ties ties;
  uint32_t flags;
  const rtfq_operand* operands; /* may be NULL */
  size_t operand_count;

  /* Why the shape is refused, or NULL: it is taken. `shape` is the family's struct. */
  const char* (*unsupported)(const rtfq_operator* self, const void* shape);
  /* Once for every shape; NULL: no state. */
  int (*create)(const rtfq_operator* self, const void* shape, void** state);
  void (*destroy)(void* state);
  /* Weights laid out once for many launches (conv2d.forward and .dgrad, convquant.forward); both or neither. */
  size_t (*prepared_bytes)(const rtfq_operator* self, void* state, const void* shape);
  int (*prepare)(const rtfq_operator* self, void* state, const void* shape, const void* weights, void* prepared,
                 void* stream);
  /* Scratch memory of one launch; NULL: none. */
  size_t (*workspace_bytes)(const rtfq_operator* self, void* state, const void* shape);
  int (*launch)(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream);
  /* Seconds that the last launch took by the operator's own clock, for operators whose launch copies between
   * processes or languages; NULL: the lab's clock decides. */
  double (*launch_seconds)(const rtfq_operator* self, void* state);
  /* What went wrong in the last function that did not answer 0; may be NULL. */
  const char* (*error)(const rtfq_operator* self);
};

typedef struct rtfq_plugin {
  uint32_t abi; /* RTFQ_PLUGIN_ABI */
  uint32_t reserved;
  const char* name;
  const char* version;
  size_t count;
  const rtfq_operator* const* operators;
} rtfq_plugin;

/* The one symbol a plug-in exports. `host_abi` is the host's RTFQ_PLUGIN_ABI. */
const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif
