#include <gtest/gtest.h>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <set>

#include "codec/encode.h"
#include "codec/value.h"
#include "pictures.h"
#include "runner/train/storage.h"
#include "runner/train/stored_samples.h"
#include "runner/train/tensors.h"

namespace imagecalc {
namespace {

const Interrupt kNever;

ModelInput input_of(const char* text) { return parse_model_input(text); }

std::vector<float> tensor_of(const Picture& picture, const View& view, const ModelInput& input,
                             const Normalisation& normalisation) {
  TensorSize size = tensor_size(input);
  std::vector<float> tensor(std::size_t{3} * size.height * size.width);
  make_tensor(picture, view, input, normalisation, tensor.data(), kNever);
  return tensor;
}

TEST(Tensors, AWholeViewIsWhatAStoredValueGives) {
  Normalisation normalisation{{10, -3, 4}, {100, 50, 25}};
  for (int channels : {1, 3}) {
    Picture picture = test::drawn_picture(64, 64, channels);
    ModelInput input = input_of("2x2r/b16/k5/q20@64");
    Coefficients value = read_value(write_value(encode(picture, input.format, kNever), 3), Limits{});
    std::vector<float> stored(std::size_t{3} * value.geometry().tensor_area());
    place_normalised(value, normalisation, stored.data());
    EXPECT_EQ(tensor_of(picture, whole_view(picture), input, normalisation), stored);
  }
}

TEST(Tensors, MirroringIsDoneToThePixels) {
  Picture picture = test::drawn_picture(64, 64, 3);
  for (const char* text : {"1x1/b8/k4/q20@64", "2x2c/b32/k9/q50@64", "rgb@64"}) {
    View view = whole_view(picture);
    auto plain = tensor_of(test::mirrored_pixels(picture), view, input_of(text), {});
    view.mirrored = true;
    auto flipped = tensor_of(picture, view, input_of(text), {});
    ASSERT_EQ(plain.size(), flipped.size());
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(plain[i], flipped[i], 1e-5) << text << " at " << i;
  }
}

TEST(StoredSamples, AreWhatTheirFormatStores) {
  std::vector<Sample> samples;
  for (unsigned i = 0; i < 300; ++i) samples.emplace_back(test::drawn_picture(32, 32, i % 3 ? 3 : 1, i), 0);
  const Format format = parse_format("1x1/b8/k5/q10@32");
  for (std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{20'000}, std::uint64_t{1} << 30}) {
    const StoredSamples stored(samples, format, memory, testing::TempDir(), 2, {});
    for (std::size_t i : {0u, 1u, 255u, 256u, 299u}) {
      EXPECT_EQ(stored.read(i, {}).values, encode(samples[i].picture(), format, {}).values) << i << " in " << memory;
    }
  }
}

TEST(Tensors, RandomViewsLieInside) {
  Picture picture = test::drawn_picture(96, 96, 1);
  int mirrors = 0;
  std::set<int> widths;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    Random random{1, i};
    View view = random_view(picture, random);
    ASSERT_GE(view.box.left, 0);
    ASSERT_GE(view.box.top, 0);
    ASSERT_LE(view.box.left + view.box.width, 96);
    ASSERT_LE(view.box.top + view.box.height, 96);
    ASSERT_GE(view.box.width * view.box.height, 0.3 * 96 * 96);
    mirrors += view.mirrored;
    widths.insert(view.box.width);
  }
  EXPECT_NEAR(mirrors, 1000, 120);
  EXPECT_GT(widths.size(), 30u);
}

TEST(Random, SequencesDependOnEveryPart) {
  std::set<std::uint64_t> firsts;
  for (std::uint64_t a = 0; a < 20; ++a) {
    for (std::uint64_t b = 0; b < 20; ++b) firsts.insert(Random({a, b}).next());
  }
  EXPECT_EQ(firsts.size(), 400u);
  Random random{7};
  double sum = 0;
  for (int i = 0; i < 10000; ++i) sum += random.uniform(2, 4);
  EXPECT_NEAR(sum / 10000, 3, 0.03);
}

TEST(Tensors, NormalisationCentresTheKeptCoefficients) {
  std::vector<Sample> samples;
  for (unsigned seed = 0; seed < 9; ++seed) samples.push_back({test::drawn_picture(64, 64, 3, seed), 0});
  for (const char* text : {"1x1/b8/k3/q20@64", "rgb@64"}) {
    ModelInput input = input_of(text);
    Normalisation normalisation = measure_normalisation(spread(samples, 256), input, 2, kNever);
    int period = input.rgb ? 1 : input.format.kept;
    TensorSize size = tensor_size(input);
    for (int c = 0; c < 3; ++c) {
      double sum = 0, squares = 0, count = 0;
      for (const Sample& sample : samples) {
        auto tensor = tensor_of(sample.picture(), whole_view(sample.picture()), input, normalisation);
        for (int y = 0; y < size.height; ++y) {
          for (int x = 0; x < size.width; ++x) {
            double value = tensor[(std::size_t(c) * size.height + y) * size.width + x];
            if (y % period + x % period >= period) {
              ASSERT_EQ(value, 0) << "outside the triangle";
              continue;
            }
            sum += value, squares += value * value, ++count;
          }
        }
      }
      EXPECT_NEAR(sum / count, 0, 1e-3) << text;
      EXPECT_NEAR(squares / count, 1, 1e-3) << text;
    }
  }
}

TEST(Tensors, ADeviationIsNeverZero) {
  std::vector<Sample> gray;
  gray.push_back({test::drawn_picture(64, 64, 1), 0});
  Normalisation normalisation = measure_normalisation(spread(gray, 256), input_of("1x1/b8/k3/q20@64"), 1, kNever);
  EXPECT_GT(normalisation.deviation[0], 1);
  EXPECT_EQ(normalisation.deviation[1], 1);
  EXPECT_EQ(normalisation.mean[1], 0);
}

TEST(Storage, SizesAreThoseOfRealValues) {
  std::vector<Sample> samples;
  for (unsigned seed = 0; seed < 3; ++seed) samples.push_back({test::drawn_picture(64, 64, seed == 1 ? 1 : 3, seed), 0});
  std::uint32_t last = 0;
  StorageReply reply = measure_storage(
      samples, 64, MeasureStorage{16, 3}, 2, [&](const Progress& progress) { EXPECT_EQ(progress.step, ++last); }, kNever);
  EXPECT_EQ(last, 3u);
  auto formats = design_space(64);
  ASSERT_EQ(reply.mean_bytes.size(), formats.size());
  ASSERT_EQ(reply.deviation.size(), formats.size());
  for (std::size_t f = 0; f < formats.size(); f += 61) {
    double sum = 0, squares = 0;
    for (const Sample& sample : samples) {
      double size = static_cast<double>(write_value(encode(sample.picture(), formats[f], kNever), 3).size());
      sum += size, squares += size * size;
    }
    EXPECT_NEAR(reply.mean_bytes[f], sum / 3, 1e-2) << to_string(formats[f]);
    EXPECT_NEAR(reply.deviation[f], std::sqrt(squares / 3 - sum / 3 * sum / 3), 0.1) << to_string(formats[f]);
  }
}

// Every fourth picture has much in it, the others little, and the sample is of one sort.
TEST(Storage, AnOddSampleIsCorrected) {
  std::vector<Sample> samples;
  for (unsigned i = 0; i < 80; ++i) {
    Picture picture = test::drawn_picture(64, 64, 3, i);
    if (i % 4 != 0) for (auto& sample : picture.samples) sample = static_cast<std::uint8_t>(96 + sample / 4);
    samples.push_back({picture, 0});
  }
  std::uint32_t last = 0;
  const StorageReply reply = measure_storage(
      samples, 64, MeasureStorage{4, 3}, 2,
      [&](const Progress& progress) {
        EXPECT_EQ(progress.step, ++last);
        EXPECT_EQ(progress.steps, 4 + 4 + 80u);
      },
      kNever);
  EXPECT_EQ(last, 88u);
  const auto formats = design_space(64);
  double error = 0, uncorrected = 0;
  int count = 0;
  for (std::size_t f = 0; f < formats.size(); f += 97, ++count) {
    double all = 0, sampled = 0;
    for (const Sample& sample : samples) all += static_cast<double>(write_value(encode(sample.picture(), formats[f], kNever), 3).size());
    for (const Sample* sample : spread(samples, 4)) {
      sampled += static_cast<double>(write_value(encode(sample->picture(), formats[f], kNever), 3).size());
    }
    error += std::abs(reply.mean_bytes[f] / (all / 80) - 1);
    uncorrected += std::abs(sampled / 4 / (all / 80) - 1);
  }
  EXPECT_GT(uncorrected / count, 0.1) << "else there is nothing to correct";
  EXPECT_LT(error / count, 0.25 * uncorrected / count);
}

TEST(DataSet, ReportsPicturesThatCannotBeRead) {
  TrainSetup setup;
  setup.classes = 2;
  setup.size = 64;
  setup.threads = 2;
  setup.max_pixels = 1'000'000;
  setup.memory = 1 << 20;
  DataSet data(setup);
  auto file = write_jpeg(test::drawn_picture(100, 80, 3), 90);
  auto broken = file;
  broken.resize(file.size() / 2);
  AddReply reply =
      data.add(AddImages{{{file, 0, false}, {Blob{1, 2, 3}, 1, false}, {file, 1, true}, {broken, 0, false}}}, kNever);
  EXPECT_EQ(reply.training, 1u);
  EXPECT_EQ(reply.validation, 1u);
  ASSERT_EQ(reply.rejected.size(), 2u);
  EXPECT_EQ(reply.rejected[0].index, 1u);
  EXPECT_EQ(reply.rejected[1].index, 3u);
  EXPECT_FALSE(reply.rejected[1].message.empty());
  EXPECT_EQ(data.training()[0].picture().width, 64);
  EXPECT_EQ(data.training()[0].picture().height, 64);
  EXPECT_FALSE(data.training()[0].has_file());
  EXPECT_EQ(data.validation()[0].file(), file);
  EXPECT_THROW(data.add(AddImages{{{file, 2, false}}}, kNever), Error);
}

TEST(Spool, KeepsInAFileWhatHasNoRoomInMemory) {
  const Blob first(100, 1), second(200, 2), third(50, 3);
  Spool spool(160, testing::TempDir());
  const Kept one = spool.keep(first), two = spool.keep(second), three = spool.keep(third), nothing = spool.keep({});
  EXPECT_EQ(spool.file_size(), 200u) << "the first and the third fit in";
  EXPECT_EQ(one.read(), first);
  EXPECT_EQ(two.read(), second);
  EXPECT_EQ(three.read(), third);
  EXPECT_EQ(nothing.size(), 0u);
  for (const auto& entry : std::filesystem::directory_iterator(testing::TempDir())) {
    EXPECT_EQ(entry.path().filename().string().find("pgsql_tmp.imagecalc"), std::string::npos) << "the file has no name";
  }
}

TEST(Spool, SaysWhereItCannotWrite) {
  Spool nowhere(0, "/no/such/folder");
  try {
    nowhere.keep(Blob(10, 1));
    FAIL() << "there is no such folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::limit_exceeded);
    EXPECT_NE(std::string(error.what()).find("/no/such/folder: No such file"), std::string::npos) << error.what();
  }
}

// As on a disk that is full: some of the bytes are written, the rest not.
TEST(Spool, SaysWhereThereIsNoRoomLeft) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{150'000, before.rlim_max};
  const auto on_excess = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Spool spool(0, testing::TempDir());
  const Kept first = spool.keep(Blob(100'000, 1));
  std::string message;
  try {
    spool.keep(Blob(100'000, 2));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::limit_exceeded);
    message = error.what();
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, on_excess);
  EXPECT_NE(message.find("could not write the spool file"), std::string::npos) << message;
  EXPECT_EQ(first.read(), Blob(100'000, 1)) << "what was there before stays";
  const Kept third = spool.keep(Blob(100'000, 3));
  EXPECT_EQ(third.read(), Blob(100'000, 3)) << "and with room it goes on";
}

// A training on spooled pictures is the same training.
TEST(DataSet, SpooledPicturesAreTheSame) {
  TrainSetup setup;
  setup.classes = 1;
  setup.size = 64;
  setup.max_pixels = 1'000'000;
  AddImages images;
  for (unsigned seed = 0; seed < 8; ++seed) {
    images.images.push_back({write_jpeg(test::drawn_picture(100, 80, 3, seed), 90), 0, seed % 2 == 1});
  }
  setup.memory = 1 << 20;
  DataSet in_memory(setup);
  in_memory.add(images, kNever);
  setup.memory = 20'000;
  setup.spool_folder = testing::TempDir();
  DataSet spooled(setup);
  spooled.add(images, kNever);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(spooled.training()[i].picture().samples, in_memory.training()[i].picture().samples);
    EXPECT_EQ(spooled.validation()[i].picture().samples, in_memory.validation()[i].picture().samples);
    EXPECT_EQ(spooled.validation()[i].file(), in_memory.validation()[i].file());
    EXPECT_TRUE(spooled.validation()[i].has_file());
  }
}

// What accuracy is measured on is what a cast stores.
TEST(Tensors, AWholeFileIsAsACastStoresIt) {
  const Blob file = write_jpeg(test::drawn_picture(200, 160, 3), 75);
  const Sample sample{test::drawn_picture(64, 64, 3), 0, file};
  for (const char* text : {"1x1/b32/k3/q20@64", "1x1/b64/k50/q20@64"}) {
    const ModelInput input = input_of(text);
    const TensorSize size = tensor_size(input);
    std::vector<float> tensor(std::size_t{3} * size.height * size.width), expected(tensor.size());
    make_whole_tensor(sample, input, {}, Limits{}, tensor.data(), kNever);
    const Blob value = write_value(encode_file(file, input.format, Limits{}, kNever), 3);
    place_normalised(read_value(value, Limits{}), {}, expected.data());
    EXPECT_EQ(tensor, expected) << text;
  }
}

}  // namespace
}  // namespace imagecalc
