// Every key of a configuration, in the order in which they are printed.
#include "training/config_field.h"

namespace rtfq::schema {
namespace {

// A key and the member it names, which are spelt alike.
// clang-format off
#define KEY(path) #path, +[](Config& c) -> auto& { return c.path; }
#define BANK_KEY(path) "bank." #path, +[](Config& c) -> auto& { return c.model.bank.path; }
// clang-format on

std::vector<Field> describe() {
  const Range count{1, 1e12}, zero_up{0, unlimited}, fraction{0, 1}, above_zero{0, unlimited, true};
  const Range steps{0, 1e12}, threads{0, 1024};
  return {
      text(KEY(data.source), {},
           "labelled images: a folder with one subfolder a class, or a list file of lines `path label`"),
      text(KEY(data.target), {},
           "images of the same classes from elsewhere; training never reads their labels, evaluation does "
           "where there are any"),
      text(KEY(data.evaluation), {},
           "target images that `rtfq eval` measures on, where they are others than those of training; empty: "
           "data.target"),
      narrowed<int>(number(KEY(data.channels), {1, 3}, "of the network's input: 1 (grey) or 3 (RGB)"),
                    {1, 3}),
      number(KEY(data.resize), {0, 8192},
             "pixels to which an image is resized before the crop to the resolution; 0: the whole image is "
             "resized to the resolution"),
      text(
          KEY(data.resize_mode), {"shorter", "squash"},
          "what becomes `resize`: the shorter side, as torchvision does it, or both sides, as TLlib does it"),
      text(KEY(data.interpolation), {"bilinear", "bicubic"}, "of resizing, antialiased as Pillow does it"),
      numbers(KEY(data.mean), {-10, 10}, "of each channel, pixels being 0 to 1; subtracted"),
      numbers(KEY(data.deviation), {0, 10, true}, "of each channel; divided by"),
      number(KEY(data.augmentation.rotation), {0, 180}, "degrees, uniform in [-r, r]"),
      number(KEY(data.augmentation.scale), {0, 0.9}, "zoom factor, uniform in [1 - s, 1 + s]"),
      number(KEY(data.augmentation.shear), {0, 2}, "horizontal, uniform in [-s, s]"),
      number(KEY(data.augmentation.shift), {0, 1}, "fraction of the size, uniform in [-s, s] on each axis"),
      yes_no(KEY(data.augmentation.flip), "mirrored left to right half of the time"),
      number(KEY(data.augmentation.crop), fraction,
             "smallest area fraction of a random resized crop; 0: off"),
      number(KEY(data.augmentation.brightness), {0, 10},
             "colours as torchvision's ColorJitter: factor uniform in [1 - v, 1 + v], at least 0"),
      number(KEY(data.augmentation.contrast), {0, 10}, "likewise"),
      number(KEY(data.augmentation.saturation), {0, 10}, "likewise"),
      number(KEY(data.augmentation.hue), {0, 0.5}, "turns of the colour circle, uniform in [-v, v]"),
      number(KEY(data.hold_out), {0, 1e9},
             "every k-th target file is kept out of training (`rtfq eval --held-out` measures on them); 0: "
             "none"),
      number(KEY(data.source_hold_out), {2, 1e9, false, true},
             "every k-th source file is kept out of training, and accuracy on the source is measured on "
             "those; 0: none"),
      number(KEY(data.threads), {1, 1024}, "that decode and augment images; does not change results"),
      number(KEY(data.cache_mib), {0, 1e9}, "MiB of decoded images kept in memory"),
      text(KEY(data.cache_dir), {},
           "folder of prepared images: each is decoded and resized once, into a file that later epochs and "
           "other runs read; empty: none"),
      text(KEY(data.jpeg), {"auto", "stb", "turbo"},
           "what decodes JPEG: libjpeg-turbo, with Pillow's pixels, or stb_image; auto: the first where this "
           "build has it"),
      yes_no(KEY(data.exif),
             "turn images upright as their EXIF orientation says; the field's loaders do not"),
      text(KEY(data.bad_images), {"error", "skip"},
           "what a file that cannot be decoded does: stop, or be left out and counted"),
      yes_no(KEY(data.outside_paths),
             "list files may name images outside of the folder at which their paths start"),

      text(KEY(model.arch), {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet14_small"},
           "the network; resnet14_small is for images of about 32 pixels: 5x5 stem, 6 basic blocks, "
           "32-64-128 channels"),
      text(KEY(model.residual), {"float", "8bit", "codes"},
           "what the identity path carries: floats, 8-bit codes of its own, or the codes that the "
           "convolutions read"),
      number(KEY(model.first_last_bits), {2, 8, false, true},
             "bits of input image, first convolution and classifier; 0: the subnet's own"),
      yes_no(KEY(model.symmetric_weights), "weight codes in [-q, q] instead of [-q - 1, q]"),
      yes_no(KEY(model.per_channel_weights), "one step size an output channel instead of one a layer"),
      text(KEY(model.step_init), {"lsq", "max", "mse"},
           "initial step sizes: 2 mean|x| / sqrt(qp), the largest value / qp, or the least squared error"),
      text(KEY(model.step_gradient), {"lsq", "count", "none"},
           "factor on a step size's gradient: 1/sqrt(N qp), 1/sqrt(N) or 1"),
      texts(KEY(model.bits_exceptions),
            "[\"stage1.*=8\"]: layers or quantizers, by names with *, that keep bits of their own in every "
            "quantized "
            "subnet"),
      yes_no(KEY(model.domain_norms), "source and target have batch norms of their own"),
      text(KEY(model.norm_affine), {"architecture", "subnet"},
           "who has a scale and shift of its own: each width and depth, or each subnet"),
      number(KEY(model.norm_momentum), {0, 1, true}, "weight of a batch in the running statistics"),

      bank_field(),
      part(numbers(BANK_KEY(widths), {0, 1, true}, "fractions of the channels")),
      part(numbers(BANK_KEY(depths), {0, 1, true}, "fractions of the blocks of every stage")),
      part(numbers(BANK_KEY(resolutions), {8, 4096}, "pixels")),
      part(narrowed<int>(
          numbers(BANK_KEY(bits), {2, 32}, "of weights and activations: 2 to 8; 32: not quantized"),
          {2, 3, 4, 5, 6, 7, 8, float_bits})),
      part(
          number(BANK_KEY(multiple), {1, 256}, "channel counts of a width are rounded to multiples of this")),

      number(KEY(loss.source), zero_up, "weight of the cross entropy on source images, every subnet"),
      number(KEY(loss.smoothing), {0, 0.99}, "of the source labels"),
      number(KEY(loss.pseudo_label), zero_up,
             "weight of the cross entropy on target images against the largest subnet's own confident "
             "predictions"),
      number(KEY(loss.pseudo_threshold), fraction, "probability from which a prediction is confident"),
      text(KEY(loss.pseudo_source), {"own", "teacher"},
           "whose confident predictions the largest subnet learns from: its own, or those of the averaged "
           "teacher"),
      number(KEY(loss.information), zero_up,
             "weight of information maximization on target images, every subnet"),
      text(KEY(loss.information_prior), {"uniform", "teacher"},
           "shares of the classes that the mean prediction is drawn to: equal ones, or a moving average of "
           "those that "
           "the teacher finds"),
      number(KEY(loss.information_average), {0, 0.999},
             "decay of a moving average of the mean prediction over steps, for batches too small to show "
             "every class; "
             "0: the batch's own mean"),
      number(KEY(loss.confusion), zero_up,
             "weight of minimum class confusion on target images, every subnet; method mcc takes 1 where "
             "this is 0"),
      number(KEY(loss.confusion_temperature), above_zero, "softens the predictions that it compares"),
      number(KEY(loss.distillation), zero_up,
             "weight of learning from the averaged teacher on target images, all but the largest subnet"),
      number(KEY(loss.teacher_temperature), above_zero,
             "softens (above 1) or sharpens the teacher's predictions"),
      number(KEY(loss.student_temperature), above_zero, "the same for the student that learns from it"),
      number(KEY(loss.joint), zero_up,
             "weight of a lower bit-width learning from the higher one of its pair"),
      number(KEY(loss.joint_temperature), above_zero, "of both"),
      text(KEY(loss.ensemble), {"sampled", "all", "largest"},
           "teachers whose mean the smallest subnet learns from: those this step draws, all between the "
           "extremes, or the largest"),
      number(KEY(loss.ramp_steps), {0, 1e9}, "steps over which the target's losses grow to full weight"),

      number(KEY(optimizer.learning_rate), above_zero, "the schedule's peak"),
      number(KEY(optimizer.classifier_rate), zero_up, "factor on learning_rate for the classifier"),
      number(KEY(optimizer.step_rate), zero_up, "factor on learning_rate for the quantizers' step sizes"),
      number(KEY(optimizer.momentum), {0, 0.9999}, "of stochastic gradient descent"),
      yes_no(KEY(optimizer.nesterov), "Nesterov's form of it"),
      number(KEY(optimizer.weight_decay), zero_up, "on weights; never on step sizes"),
      yes_no(KEY(optimizer.decay_norms), "weight decay also on norms and biases"),
      number(KEY(optimizer.clip_norm), zero_up, "the whole gradient is scaled down to this length; 0: off"),
      yes_no(KEY(optimizer.average_passes), "divide the gradient, a sum over passes, by their number"),
      text(KEY(optimizer.schedule), {"cosine", "one_cycle", "constant"},
           "of the learning rate over all steps"),
      number(KEY(optimizer.one_cycle_warmup), fraction, "fraction of the steps over which one_cycle rises"),

      text(KEY(train.method), {"rtfq", "source_only", "mcc"},
           "rtfq: the bank; one network at full precision: source_only, which never looks at the target, or "
           "mcc, "
           "adapted by minimum class confusion"),
      number(KEY(train.steps), count, "of all phases together"),
      number(KEY(train.float_steps), steps,
             "of these, the first: largest network, full precision, source only"),
      number(KEY(train.source_steps), steps,
             "of these, the next: quantized subnets, source only; the rest adapts"),
      number(KEY(train.batch), {1, 65536}, "images of each domain in a step, of all ranks together"),
      number(KEY(train.passes), {1, 64}, "subnets in a step"),
      text(KEY(train.sampler), {"sandwichq", "sandwich", "uniform", "fixed"},
           "how a step's subnets are drawn; fixed: train.subnet alone"),
      text(KEY(train.subnet), {},
           "\"width=0.5,bits=4\": the only subnet of sampler fixed, the architecture of methods source_only "
           "and mcc; what "
           "is left out is the largest"),
      number(KEY(train.teacher_decay), {0, 0.999999},
             "of the teacher's moving average, once a step; 0: 0.9^passes"),
      text(KEY(train.teacher_update), {"after", "before"},
           "the teacher follows the weights after the step, or those before it"),
      text(KEY(train.teacher_view), {"same", "plain"},
           "target images that the teacher sees: as augmented as the student's, or not augmented"),
      number(KEY(train.seed), {0}, "of everything random"),
      number(KEY(train.checkpoint_every), count, "steps"),
      number(KEY(train.calibration_images), steps,
             "that set the norm statistics of each subnet and domain when training ends; 0: the running "
             "averages of training stay"),
      number(KEY(train.log_steps_every), {0, 1e12},
             "steps between entries of quantizers.jsonl, the step size of every quantizer; 0: none"),
      number(KEY(train.report_every), {0, 1e9},
             "seconds after which RUN/report.html is written anew while training goes on; 0: never"),
      number(KEY(train.max_loss), zero_up,
             "a step whose loss, summed over its passes, is above this counts as diverged, as one whose loss "
             "is not "
             "finite; 0: no limit"),
      text(KEY(train.on_divergence), {"stop", "retreat"},
           "what a step that diverged does: stop, or go back to the last checkpoint and go on at half the "
           "learning "
           "rate"),
      yes_no(KEY(train.sync_norms),
             "with several ranks, norms take their statistics over the images of all ranks, as one rank "
             "does; false: "
             "each over its own"),
      yes_no(KEY(train.overlap),
             "with several ranks on the cpu, gradients are summed while passes compute others; false: after "
             "the last. The same bits"),
      yes_no(KEY(train.tensorboard), "also write the log as TensorBoard event files, to RUN/tensorboard"),

      text(KEY(checkpoint), {},
           "pretrained weights that training starts from: a .pth or .safetensors file of torchvision or "
           "timm, or "
           "what `rtfq import` wrote; empty: random weights"),
      text(
          KEY(precision), {"f32", "tf32", "bf16", "int8"},
          "f32; tf32: as f32, but on a GPU convolutions round their operands to 10 bits of fraction, for its "
          "tensor cores; bf16: convolutions and activations between operations; int8: quantized subnets "
          "compute on "
          "their codes, "
          "exactly, everything else as bf16. Sums and master weights are f32"),
      text(KEY(device), {"cpu", "cuda", "simt"},
           "what computes: cpu; cuda: an NVIDIA GPU (the first that CUDA_VISIBLE_DEVICES leaves), in a build "
           "with "
           "RTFQ_CUDA; simt: the CUDA kernels on the CPU, to test them"),
      yes_no(
          KEY(graphs),
          "on cuda and simt: the kernels of a pass are recorded when its subnet comes the second time, and "
          "launched as one graph from then on; the same bits with less work for the host. Not yet run on a "
          "GPU"),
      number(KEY(threads), threads, "that compute; 0: one a processor"),
  };
}

#undef KEY
#undef BANK_KEY

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> all = describe();
  return all;
}

}  // namespace rtfq::schema
