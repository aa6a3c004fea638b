#pragma once
// Which images there are and what they show: folders and list files. Nothing here decodes an image.

#include <string>
#include <utility>
#include <vector>

namespace rtfq::data {

struct Sample {
  std::string path;
  int label = -1;  ///< index into Dataset::classes; -1: none
};

/// Samples in an order that depends on their names alone.
struct Dataset {
  std::string origin;  ///< what the user named; errors repeat it
  std::vector<std::string>
      classes;  ///< names by index; sorted unless given; empty when unlabelled and none given
  std::vector<Sample> samples;

  /// Every sample has a label (false for an empty data set).
  bool labelled() const;
};

/// Opens one of:
/// - a folder with one subfolder a class (images at any depth below it); samples sorted by path;
/// - a folder of images without subfolders: unlabelled, sorted by path;
/// - a list file, a text file of lines `path label` or `path` in the order of the file. docs/data.md states
/// its rules.
///   Relative paths start at the list's folder (or the one above it, where the first image is there), or at
///   `root` where that is not empty.
///
/// `classes`, when not empty, are the names that labels must refer to, in the order of their indices: the
/// target of an adaptation is opened with the classes of the source. Throws std::runtime_error with the
/// offending file, line or class: nothing there, no images, a class too many or too few, a label out of
/// range, some lines labelled and others not, a listed file that does not exist.
///
/// A list may be somebody else's: unless `outside` is set, its paths, taken as text, must stay below the
/// folder at which they start; absolute ones must lead there too. Symbolic links in that folder are its
/// owner's and are followed.
Dataset open_dataset(const std::string& location, const std::vector<std::string>& classes = {},
                     const std::string& root = {}, bool outside = false);

/// The same samples with every label removed: what adaptation may see of a target.
Dataset without_labels(Dataset dataset);

/// first: kept, second: held out. Sample i is held out where i % every == every - 1; every = 0 holds nothing
/// out. Throws std::invalid_argument for a negative value and for 1, which would keep nothing.
std::pair<Dataset, Dataset> hold_out(const Dataset& dataset, int every);

}  // namespace rtfq::data
