/* Problem shapes of every operator family, in plain C so that kernels written in any language can be told about
 * them. Everything is counted in elements, in 64 bits. Activations are dense NHWC. A weight is KRSC and may be the
 * leading corner of a wider parent: active counts `k`, `c` and the parent's `c_parent` give its strides, so that an
 * elastic layer never copies. Construct them with the make_*_shape functions of the family headers, which check. */
#ifndef RTFQ_KERNELS_SHAPES_H
#define RTFQ_KERNELS_SHAPES_H

#include <stdint.h>

/* One batch may hold several parts that a norm treats apart (source images, target images). */
#define RTFQ_MAX_SEGMENTS 8

typedef enum rtfq_dtype {
  RTFQ_F32 = 0,
  RTFQ_BF16 = 1,
  RTFQ_F16 = 2,
  RTFQ_U8 = 3,
  RTFQ_S8 = 4,
  RTFQ_S32 = 5
} rtfq_dtype;

/* y[n,p,q,k] = sum over r,s,c of x[n, p*stride - pad + r, q*stride - pad + s, c] * w[k,r,s,c].
 * x: [n,h,w,c] dense. y: [n,p,q,k] dense. w[k,r,s,c] at ((k*r_ + r)*s_ + s)*c_parent + c.
 * The types are those of the three tensors and, in the gradients, of the tensors of the same place: x_type of x and dx,
 * w_type of the weights as they are stored, y_type of y and g. kernels/conv2d.h says which go together. */
typedef struct rtfq_conv2d_shape {
  int64_t n, h, w;  /* images, input height and width */
  int64_t c, k;     /* active input and output channels */
  int64_t r, s;     /* filter height and width */
  int64_t stride, pad;
  int64_t c_parent; /* input channels of the stored weight, >= c */
  rtfq_dtype x_type, w_type, y_type;
} rtfq_conv2d_shape;

/* y[n,k] = sum over c of x[n,c] * w[k,c] + bias[k]; w[k,c] at k*c_parent + c. */
typedef struct rtfq_linear_shape {
  int64_t n, c, k;
  int64_t c_parent;
  rtfq_dtype x_type, w_type, y_type;
} rtfq_linear_shape;

/* Elements x[row, group, col] at row*row_stride + group*group_stride + col; the quantized result is dense
 * [rows, groups, cols]. A dense tensor is {1, 1, count}; a weight slice is {k, r*s, c} with the parent's strides.
 * One step size for everything, or (per_row) one for each row. Codes lie in [-qn, qp]. */
typedef struct rtfq_fakequant_shape {
  int64_t rows, groups, cols;
  int64_t row_stride, group_stride;
  int32_t qn, qp;
  int32_t per_row;
  rtfq_dtype type; /* of x and of the fake-quantized result */
} rtfq_fakequant_shape;

/* x: [n, hw, c] dense. Images [segment_end[i-1], segment_end[i]) form segment i and are normalized apart. */
typedef struct rtfq_batchnorm_shape {
  int64_t n, hw, c;
  int32_t segments;
  int64_t segment_end[RTFQ_MAX_SEGMENTS]; /* ascending, the last one is n */
  float epsilon;
  rtfq_dtype type;
} rtfq_batchnorm_shape;

/* What is added to a normalized convolution before it is quantized. */
typedef enum rtfq_residual {
  RTFQ_RESIDUAL_NONE = 0,
  RTFQ_RESIDUAL_VALUES = 1, /* a tensor of norm.type */
  RTFQ_RESIDUAL_CODES = 2,  /* u8 codes times one step */
  RTFQ_RESIDUAL_NORM = 3    /* another convolution's result of norm.type, normalized by statistics of its own */
} rtfq_residual;

/* What the identity path reads of a quantized sum. */
typedef enum rtfq_identity {
  RTFQ_IDENTITY_NONE = 0,  /* nothing */
  RTFQ_IDENTITY_CODES = 1, /* u8 codes in [0, identity_qp] with a step of their own */
  RTFQ_IDENTITY_VALUES = 2 /* max(z, 0), of norm.type */
} rtfq_identity;

/* Batch normalization, an optional residual and unsigned quantization in one pass: z = norm(x) + residual, codes in
 * [0, qp] of z, and what the identity path reads of z. `norm.type` is the type of x, of values and of gradients. */
typedef struct rtfq_normquant_shape {
  rtfq_batchnorm_shape norm;
  rtfq_residual residual;
  rtfq_identity identity;
  int32_t qp, identity_qp; /* at most 255 */
} rtfq_normquant_shape;

/* Elementwise work on `count` dense elements. */
typedef struct rtfq_elementwise_shape {
  int64_t count;
  rtfq_dtype type;
} rtfq_elementwise_shape;

/* `count` dense elements of one type as another. */
typedef struct rtfq_convert_shape {
  int64_t count;
  rtfq_dtype from, to;
} rtfq_convert_shape;

/* Square window over [n,h,w,c]; global average pooling is a family of its own. Padding never wins a maximum. */
typedef struct rtfq_pool_shape {
  int64_t n, h, w, c;
  int64_t window, stride, pad;
  rtfq_dtype type;
} rtfq_pool_shape;

/* [n, h, w, c] -> [n, p, q, c]. */
typedef struct rtfq_resize_shape {
  int64_t n, h, w, c;
  int64_t p, q;
  int32_t antialias;
} rtfq_resize_shape;

/* Rows of logits: n samples, k classes. */
typedef struct rtfq_logits_shape {
  int64_t n, k;
} rtfq_logits_shape;

#endif
