/* Classifies a binary PPM or PGM image with a packed model, within a budget of multiply-adds:
 *
 *   cc classify.c $(pkg-config --cflags --libs rtfq) -o classify
 *   ./classify model.rtfq image.ppm [MACs]
 */
#include <rtfq.h>
#include <stdio.h>
#include <stdlib.h>

static void check(rtfq_status status) {
  if (status == RTFQ_OK) return;
  fprintf(stderr, "classify: %s\n", rtfq_error());
  exit(1);
}

/* An 8-bit P5 or P6 file without comments. */
static rtfq_image read_image(const char* path) {
  FILE* file = fopen(path, "rb");
  char kind;
  rtfq_image image = {0};
  if (!file || fscanf(file, "P%c %d %d 255", &kind, &image.width, &image.height) != 3 || fgetc(file) == EOF ||
      (kind != '5' && kind != '6') || image.width < 1 || image.height < 1 || image.width > 16384 || image.height > 16384) {
    fprintf(stderr, "classify: %s is not an 8-bit PPM or PGM image\n", path);
    exit(1);
  }
  image.format = kind == '5' ? RTFQ_GRAY8 : RTFQ_RGB8;
  size_t bytes = (size_t)image.width * (size_t)image.height * (kind == '5' ? 1 : 3);
  uint8_t* pixels = malloc(bytes);
  if (!pixels || fread(pixels, 1, bytes, file) != bytes) {
    fprintf(stderr, "classify: %s is cut off\n", path);
    exit(1);
  }
  fclose(file);
  image.pixels = pixels;
  return image;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: classify model.rtfq image.ppm [MACs]\n");
    return 2;
  }
  rtfq_model* model;
  check(rtfq_load_file(argv[1], &model));

  rtfq_limits limits = {0};
  if (argc > 3) limits.macs = atof(argv[3]);
  int subnet;
  check(rtfq_select(model, &limits, NULL, &subnet));

  rtfq_context_options options = {0};
  options.threads = 1;
  options.subnets = &subnet; /* leave these two out to switch between all subnets with rtfq_switch */
  options.subnet_count = 1;
  rtfq_context* context;
  check(rtfq_new_context(model, &options, &context));

  rtfq_image image = read_image(argv[2]);
  int classes = rtfq_class_count(model), best = 0;
  float* answer = malloc(sizeof(float) * (size_t)classes);
  check(rtfq_run_image(context, &image, answer));
  rtfq_softmax(answer, classes);
  for (int k = 1; k < classes; k++)
    if (answer[k] > answer[best]) best = k;

  rtfq_subnet_info info;
  check(rtfq_subnet(model, subnet, &info));
  printf("%s %.6f %s\n", rtfq_class_name(model, best), answer[best], info.id);

  free(answer);
  free((void*)image.pixels);
  rtfq_free_context(context);
  rtfq_free_model(model);
  return 0;
}
