#include "tools/bench/command.h"

namespace rtfq::lab {

void add_shape_options(CLI::App& app, Selection& s) {
  app.add_option("--bits", s.bits, "of quantizers: 2 to 8, signed ones as 4s (default 4)")->delimiter(',');
  app.add_option("--dtype", s.dtypes,
                 "f32, bf16, of fake-quant f16, of convolutions u8: codes and s8 weights (default f32)")
      ->delimiter(',');
  app.add_option("--shape", s.shapes,
                 "a network's layers (resnet50@224xb32, a subnet's: resnet18@112xb64/w0.9,d0.5), a shape "
                 "(count=1000000; n=32,hw=3136,c=64), or a file with one a line; may be given again")
      ->type_name("SHAPE")
      ->allow_extra_args(false);
  app.add_option("--case", s.cases,
                 "a case of the catalog by name or pattern, or 'large'; may be given again")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_option("--data", s.data, "normal, zeros, or a trained RUN whose weights and step sizes are used")
      ->type_name("normal|zeros|RUN");
}

void add_setting_options(CLI::App& app, Settings& s) {
  app.add_option("--threads", s.threads, "OpenMP threads (default: as many as there are)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--limit", s.limit, "seconds that a launch may take before it is ended")
      ->check(CLI::PositiveNumber);
  app.add_option("--seeds", s.simt_seeds, "thread orders under which kernels of the executor are verified")
      ->check(CLI::Range(1, 1000000));
}

double parse_share(const std::string& text, const char* option) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) value = -1;
  if (*end == '%' && !end[1])
    value /= 100;
  else if (*end)
    value = -1;
  if (!(value >= 0))
    throw cli::UsageError(std::string("[options] ") + option + " expects a share such as 10% or 0.1, got '" +
                          text + "'");
  return value;
}

}  // namespace rtfq::lab
