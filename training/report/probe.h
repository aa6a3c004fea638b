#pragma once
// What a look at the trained network itself shows: the codes that its quantizers use on real images, and what
// it says about single images. Costs forward passes.

#include <string>
#include <vector>

#include "data/image.h"
#include "training/evaluation.h"
#include "training/trainer.h"

namespace rtfq::report {

/// How often one quantizer gave each of its codes.
struct CodeCounts {
  std::string name;
  bool weight = false;
  int bits = 0;
  int lowest = 0;              ///< the code of counts[0]
  std::vector<double> counts;  ///< one for each code

  double total() const;
  int used() const;  ///< codes that occurred
  /// All codes are equal: the tensor carries no information.
  bool dead() const { return used() <= 1; }
};

struct SubnetCodes {
  Subnet subnet;
  std::vector<CodeCounts> quantizers;  ///< in the order in which the network meets them
};

struct Picture {
  data::Image image;
  std::string path;
  int label = -1;  ///< -1: not known
  int predicted = 0;
  double probability = 0;
};

struct Probe {
  Domain domain = Domain::target;  ///< whose images and norms
  std::string origin;              ///< of the images
  int64_t images = 0;              ///< that were looked at
  bool labelled = false;
  std::vector<std::string> classes;
  Subnet shown;         ///< whose predictions the pictures are
  double accuracy = 0;  ///< of it on these images, in percent; where labelled
  /// Labelled: wrong ones, the most confident first, and right ones. Else the least and the most confident.
  std::vector<Picture> worse, better;
  std::vector<SubnetCodes> codes;

  /// "QUANTIZER (B bits) of SUBNET gives one code only": one sentence for each that is dead.
  std::vector<std::string> warnings() const;
};

/// Runs at most `limit` images, evenly spread over `images`, through `subnets`; the first of them also judges
/// the pictures.
Probe probe(TrainedBank&, const data::Dataset& images, Domain, const std::vector<Subnet>& subnets,
            int64_t limit);

/// The largest subnet, the largest architecture at the lowest precision, and the smallest subnet; each once.
std::vector<Subnet> telling_subnets(const Config&);

}  // namespace rtfq::report
