#include "tools/table.h"

#include <catch2/catch.hpp>

using namespace rtfq::cli;

TEST_CASE("table: quantities") {
  CHECK(quantity(0) == "0");
  CHECK(quantity(999) == "999");
  CHECK(quantity(1234) == "1.23K");
  CHECK(quantity(26.4e6) == "26.4M");
  CHECK(quantity(999.9e6) == "1.00G");
  CHECK(quantity(261.9e9) == "262G");
}

TEST_CASE("table: limits") {
  CHECK(parse_quantity("1500") == 1500);
  CHECK(parse_quantity("1e6") == 1e6);
  CHECK(parse_quantity("10M") == 10e6);
  CHECK(parse_quantity("2.5G") == 2.5e9);
  CHECK(parse_quantity("1t") == 1e12);
  CHECK(parse_quantity("64Ki") == 65536);
  CHECK(parse_quantity("64KiB") == 65536);
  CHECK(parse_quantity("3kB") == 3000);
  CHECK(parse_quantity("0") == 0);
  for (const char* text :
       {"", "M", "-5", "10X", "10MM", "1e", "1e999", "nan", "inf", "0x10", "5 M", "1Mib2"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_quantity(text), std::invalid_argument);
  }
}

TEST_CASE("table: columns") {
  CHECK(table({{"name", "n"}, {"a", "5"}, {"bcdef", "1234"}}) == "name      n\na         5\nbcdef  1234\n");
  CHECK(score_table({}).find("BitOPs") != std::string::npos);
  rtfq::SubnetScore score{{0.5, 1, 28, 4}, {1200, 800, 2'000'000, 32'000'000}, 97.125, {}};
  const std::string text = score_table({score});
  for (const char* cell : {"w0.5-d1-r28-b4", "1.20K", "800", "2.00M", "32.0M", "97.1", "-"})
    CHECK(text.find(cell) != std::string::npos);
}
