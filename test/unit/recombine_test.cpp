// JPEG's coefficients as a format's: against the same steps done one after the other on samples, and against decoders.
#include <gtest/gtest.h>

#include <thread>

#include "codec/clip.h"
#include "codec/cpu.h"
#include "codec/encode.h"
#include "codec/jpeg.h"
#include "codec/recombine.h"
#include "jpeg_files.h"
#include "pictures.h"
#include "reference.h"

namespace imagecalc {
namespace {

using File = std::vector<std::uint8_t>;
using test::Matrix;

struct Component {
  JpegComponent info{};
  std::vector<std::int16_t> blocks;
};

// Random coefficients, smaller where their frequency is higher.
Component random_component(int width, int height, int repeat_across, int repeat_down, std::mt19937& random) {
  Component component;
  component.info.repeat_across = repeat_across;
  component.info.repeat_down = repeat_down;
  component.info.blocks_across = (width + 8 * repeat_across - 1) / (8 * repeat_across);
  component.info.blocks_down = (height + 8 * repeat_down - 1) / (8 * repeat_down);
  for (int n = 0; n < 64; ++n) component.info.steps[n] = static_cast<std::uint16_t>(1 + random() % 12);
  const std::size_t padding = random() % 3;  // libjpeg's rows of blocks go on to a whole MCU
  component.info.row_stride = (component.info.blocks_across + padding) * 64;
  for (std::size_t n = 0; n < component.info.row_stride * component.info.blocks_down; ++n) {
    const int place = n % 64, largest = 60 / (1 + place / 8 + place % 8);
    component.blocks.push_back(static_cast<std::int16_t>(static_cast<int>(random() % (2 * largest + 1)) - largest));
  }
  component.info.blocks = component.blocks.data();
  return component;
}

// The component's plane at the picture's size: JPEG's inverse DCT, repetition and cut.
Matrix samples_of(const JpegComponent& component, int width, int height) {
  Matrix coefficients(component.blocks_down * 8, component.blocks_across * 8);
  for (int y = 0; y < coefficients.height; ++y) {
    for (int x = 0; x < coefficients.width; ++x) {
      const std::size_t place = std::size_t(y % 8) * 8 + x % 8;
      coefficients.at(y, x) = component.blocks[component.row_stride * (y / 8) + x / 8 * 64 + place] * component.steps[place];
    }
  }
  const Matrix small = test::reference_inverse(coefficients, 8);
  Matrix plane(height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) plane.at(y, x) = small.at(y / component.repeat_down, x / component.repeat_across);
  }
  return plane;
}

// The largest difference between one component's coefficients and the reference's.
double largest_difference(const float* coefficients, const Matrix& plane, const Format& format) {
  const int width = format.size > 0 ? format.size : plane.width, height = format.size > 0 ? format.size : plane.height;
  const Matrix scaled = width == plane.width && height == plane.height ? plane : test::reference_scale(plane, width, height);
  const Matrix expected =
      test::reference_dct(test::reference_blocks(scaled, format.subsampling, format.block), format.block);
  const int down = expected.height / format.block, across = expected.width / format.block;
  double largest = 0;
  for (const Frequency& frequency : triangle(format.kept)) {
    for (int y = 0; y < down; ++y) {
      for (int x = 0; x < across; ++x) {
        const double want = expected.at(y * format.block + frequency.i, x * format.block + frequency.j);
        largest = std::max(largest, std::abs(*coefficients++ - want));
      }
    }
  }
  return largest;
}

TEST(Recombine, IsAllTheStepsInOne) {
  std::mt19937 random(11);
  const char* formats[] = {"1x1/b8/k8/q1",      "4x4/b8/k5/q1",      "1x1/b32/k32/q1",     "2x2r/b16/k9/q1",
                           "2x2c/b64/k64/q1",   "1x1/b256/k16/q1",   "1x1/b8/k8/q1@64",    "4x4/b16/k16/q1@32",
                           "1x1/b32/k3/q1@256", "1x1/b32/k32/q1@40", "2x2r/b128/k7/q1@96", "1x1/b8/k1/q1@8"};
  const std::pair<int, int> sizes[] = {{64, 64}, {128, 256}, {61, 83}, {1, 1}, {9, 200}, {131, 17}, {40, 24}};
  std::size_t next = 0;
  for (const auto& [width, height] : sizes) {
    for (const int repeat_across : {1, 2, 4}) {
      const int repeat_down = 1 << random() % 3;
      const Component component = random_component(width, height, repeat_across, repeat_down, random);
      const Matrix plane = samples_of(component.info, width, height);
      for (int n = 0; n < 4; ++n) {
        const char* text = formats[next++ % std::size(formats)];
        const Format format = parse_format(text);
        const std::vector<float> result = recombine({&component.info, 1}, width, height, format, Interrupt{});
        EXPECT_LT(largest_difference(result.data(), plane, format), 0.01)
            << text << " of " << width << "x" << height << " repeated " << repeat_across << "x" << repeat_down;
      }
    }
  }
}

TEST(Recombine, EveryCpuPathGivesTheSameBits) {
  std::mt19937 random(3);
  const Component component = random_component(333, 219, 2, 1, random);
  for (const char* text : {"1x1/b32/k3/q1", "1x1/b8/k8/q1", "4x4/b64/k17/q1@256"}) {
    const Format format = parse_format(text);
    const std::vector<float> best = recombine({&component.info, 1}, 333, 219, format, Interrupt{});
    for (const std::string& path : cpu_paths()) {
      force_cpu_path(path);
      EXPECT_EQ(recombine({&component.info, 1}, 333, 219, format, Interrupt{}), best) << text << " on " << path;
    }
    force_cpu_path("");
  }
}

TEST(Recombine, HostileNumbersStayWithinBounds) {
  std::mt19937 random(4);
  Component component = random_component(300, 300, 4, 4, random);
  component.info.steps.fill(65535);
  for (const int sign : {-1, 1}) {
    for (std::int16_t& value : component.blocks) value = static_cast<std::int16_t>(random() % 2 != 0 ? 32767 : sign * 32767);
    for (const char* text : {"1x1/b256/k256/q1", "1x1/b8/k8/q1@304"}) {
      const std::vector<float> result = recombine({&component.info, 1}, 300, 300, parse_format(text), Interrupt{});
      for (const float value : result) ASSERT_LT(std::abs(value), 4'000'000.0f);
    }
  }
}

TEST(Recombine, CanBeStopped) {
  std::mt19937 random(5);
  const Component component = random_component(64, 64, 1, 1, random);
  const Format format = parse_format("1x1/b8/k2/q1");
  EXPECT_EQ(test::fault_of([&] { recombine({&component.info, 1}, 64, 64, format, test::Stop{}); }), Fault::cancelled);
}

// ---- files

Coefficients encode_whole(Bytes file, const Format& format) { return encode_file(file, format, Limits{}, Interrupt{}); }

Format recombined(Format format) {
  format.kept = std::min(format.block, 32);
  return format;
}

// Root mean square, a sample of the coded planes, of what coefficients differ from those of the file's pixels as
// djpeg -nosmooth decodes them. unit: of the coefficients.
template <class Value>
double rms_against_pixels(Bytes file, const Format& format, const std::vector<Value>& values, double unit) {
  const auto pixels = test::decode_plainly(file, false);
  if (!pixels) {
    ADD_FAILURE() << "libjpeg does not decode the file";
    return 0;
  }
  const Box whole{0, 0, pixels->width, pixels->height};
  const int width = format.size > 0 ? format.size : pixels->width, height = format.size > 0 ? format.size : pixels->height;
  const Planes planes = scale(*pixels, whole, width, height);
  const std::vector<float> expected = transform(planes, format.subsampling, format.block, format.kept, Interrupt{});
  EXPECT_EQ(expected.size(), values.size());
  double squares = 0;
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const double difference = double{expected[n]} - values[n] * unit;
    squares += difference * difference;
  }
  const double blocks = static_cast<double>(geometry(format, width, height).blocks());
  return std::sqrt(squares / (blocks * format.block * format.block * pixels->channels));
}

double rms_against_pixels(Bytes file, const Format& format) {
  return rms_against_pixels(file, format, encode_whole(file, format).values, format.quantizer);
}

// How far a set of pictures is from its pixels.
struct Distances {
  int count = 0;
  double largest = 0, sum = 0;

  void add(double rms) {
    ++count;
    largest = std::max(largest, rms);
    sum += rms;
  }
};

std::vector<test::Sampling> every_sampling() {
  std::vector<test::Sampling> samplings(std::begin(test::kSamplings), std::end(test::kSamplings));
  samplings.insert(samplings.end(), {{3, 1}, {1, 3}});
  return samplings;
}

// 128 x 128 pixels of Y, Cb and Cr, all coefficients 0 but one of each block of one component, in steps of 255.
File file_of_wave(test::Sampling sampling, int component, int place, int level) {
  jpeg_error_mgr errors;
  jpeg_compress_struct info;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = info.image_height = 128;
  info.input_components = 3;
  info.in_color_space = JCS_YCbCr;
  jpeg_set_defaults(&info);
  info.comp_info[0].h_samp_factor = sampling.across;
  info.comp_info[0].v_samp_factor = sampling.down;
  unsigned steps[DCTSIZE2];
  std::fill(std::begin(steps), std::end(steps), 255u);
  for (const int table : {0, 1}) jpeg_add_quant_table(&info, table, steps, 100, TRUE);
  const auto whole = reinterpret_cast<j_common_ptr>(&info);
  jvirt_barray_ptr arrays[3];
  int across[3], down[3];
  for (int c = 0; c < 3; ++c) {
    across[c] = 16 / (c == 0 ? 1 : sampling.across);
    down[c] = 16 / (c == 0 ? 1 : sampling.down);
    arrays[c] = info.mem->request_virt_barray(whole, JPOOL_IMAGE, TRUE, across[c], down[c], info.comp_info[c].v_samp_factor);
  }
  jpeg_write_coefficients(&info, arrays);
  for (int y = 0; y < down[component]; ++y) {
    JBLOCKROW row = info.mem->access_virt_barray(whole, arrays[component], y, 1, TRUE)[0];
    for (int x = 0; x < across[component]; ++x) row[x][place] = static_cast<JCOEF>(level);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const File file(buffer, buffer + size);
  std::free(buffer);
  return file;
}

constexpr const char* kFormats[] = {"1x1/b32/k32/q1", "4x4/b8/k8/q1@128", "1x1/b32/k32/q1@256"};

TEST(EncodeFile, EverySamplingIsNearItsPixels) {
  const Picture photo = test::photograph();
  for (const test::Sampling sampling : test::kSamplings) {
    for (const int quality : {75, 96}) {
      const File file = test::compress(photo, quality, sampling);
      for (const char* text : kFormats) {
        EXPECT_LT(rms_against_pixels(file, parse_format(text)), 1.5)
            << text << " " << sampling.across << "x" << sampling.down;
      }
    }
  }
  const File gray = test::compress(test::to_gray(photo), 75, {1, 1});
  EXPECT_EQ(encode_whole(gray, parse_format("1x1/b32/k3/q50")).channels, 1);
  EXPECT_LT(rms_against_pixels(gray, parse_format("1x1/b32/k32/q1@256")), 1.5);
}

// The files of the corpus that any decoder takes.
TEST(EncodeFile, CorpusIsNearItsPixels) {
  const auto folder = test::data_folder() / "jpeg_corpus";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no corpus at " << folder;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("ok__")) continue;
    const File file = test::read_file(entry.path());
    const auto plain = test::decode_plainly(file, false);
    ASSERT_TRUE(plain) << name;
    if (plain->channels == 4) continue;  // libjpeg leaves CMYK to others
    EXPECT_LT(rms_against_pixels(file, parse_format("1x1/b32/k32/q1@256")), 1.5) << name;
    if (plain->width * plain->height > 1'000'000) continue;
    EXPECT_LT(rms_against_pixels(file, parse_format("1x1/b32/k32/q1")), 1.5) << name;
  }
}

// Far more is cut here than in photographs.
TEST(Clip, CutsWhatDecodersCut) {
  const Format format = parse_format("1x1/b32/k32/q1");
  const Limits limits;
  const Interrupt interrupt;
  for (const test::Sampling sampling : every_sampling()) {
    for (const int channels : {1, 3}) {
      const File file = test::compress(test::outlines(203, 117, channels), 60, sampling);
      JpegFile jpeg(file, limits, interrupt);
      auto components = jpeg.read_coefficients();
      ASSERT_TRUE(components);
      const auto uncut = recombine(*components, jpeg.width(), jpeg.height(), format, interrupt);
      const float undone = clip(*components, interrupt);
      const auto cut = recombine(*components, jpeg.width(), jpeg.height(), format, interrupt);
      const double before = rms_against_pixels(file, format, uncut, 1), after = rms_against_pixels(file, format, cut, 1);
      EXPECT_GT(before, 5);
      EXPECT_LT(after, 0.6 * before) << sampling.across << "x" << sampling.down;
      const bool is_shared = channels == 3 && sampling.across * sampling.down > 1;
      if (!is_shared) {
        EXPECT_EQ(undone, 0);
      }
      // The clip itself knows what shared samples keep from it.
      EXPECT_LT(std::sqrt(std::max(0.0, after * after - undone * undone)), 1.2) << sampling.across << "x" << sampling.down;
    }
  }
}

void expect_near_pixels(const File& file, const std::string& what) {
  for (const char* text : {"1x1/b32/k32/q1", "4x4/b8/k8/q1@128", "2x2r/b16/k16/q1@96", "1x1/b32/k32/q1@256"}) {
    EXPECT_LT(rms_against_pixels(file, parse_format(text)), 1.5) << text << " of " << what;
  }
}

std::string to_text(test::Sampling sampling) {
  return " sampled " + std::to_string(sampling.across) + "x" + std::to_string(sampling.down);
}

// One coefficient of one component in all its blocks: waves far outside 0..255 about a mean of 0.
TEST(Clip, CutsSaturatedWaves) {
  for (const test::Sampling sampling : {test::Sampling{1, 1}, {2, 2}, {2, 1}}) {
    for (const int component : {0, 1, 2}) {
      for (const int place : {1, 8, 9, 18, 63}) {
        for (const int level : {1, 2, 3, 5}) {
          const std::string what = "component " + std::to_string(component) + ", coefficient " + std::to_string(place);
          const File file = file_of_wave(sampling, component, place, level);
          expect_near_pixels(file, what + " = " + std::to_string(level) + to_text(sampling));
        }
      }
    }
  }
}

// Stripes and checks of the purest colours, and flat ones whose quantized means are outside.
TEST(Clip, CutsSaturatedColours) {
  constexpr std::uint8_t kColours[][3] = {{255, 0, 0}, {0, 0, 255}, {0, 255, 0}, {255, 255, 255}, {255, 255, 0}, {0, 0, 0}};
  for (const test::Sampling sampling : {test::Sampling{1, 1}, {2, 2}, {2, 1}, {1, 2}, {4, 1}}) {
    for (const int pitch : {1, 3, 5, 16, 128}) {
      Picture picture{144, 120, 3, {}};
      for (int y = 0; y < picture.height; ++y) {
        for (int x = 0; x < picture.width; ++x) {
          const auto& colour = kColours[(x / pitch + y / (2 * pitch)) % std::size(kColours)];
          picture.samples.insert(picture.samples.end(), colour, colour + 3);
        }
      }
      for (const int quality : {5, 20, 60, 90}) {
        const std::string what = "stripes of " + std::to_string(pitch) + " at quality " + std::to_string(quality);
        expect_near_pixels(test::compress(picture, quality, sampling), what + to_text(sampling));
      }
    }
  }
}

TEST(Clip, HostileNumbersStayWithinBounds) {
  std::mt19937 random(6);
  for (const int extreme : {32767, -32767, -32768}) {
    Component y = random_component(90, 70, 1, 1, random), cb = random_component(90, 70, 2, 4, random);
    Component cr = random_component(90, 70, 4, 1, random);
    for (Component* component : {&y, &cb, &cr}) {
      component->info.steps.fill(65535);
      for (std::int16_t& value : component->blocks) value = static_cast<std::int16_t>(random() % 2 != 0 ? 32767 : extreme);
    }
    std::vector<JpegComponent> components{y.info, cb.info, cr.info};
    clip(components, Interrupt{});
    EXPECT_EQ(components[1].in_sixteenths.size(), std::size_t(components[1].blocks_across) * components[1].blocks_down);
    const std::vector<float> result = recombine(components, 90, 70, parse_format("1x1/b8/k8/q1"), Interrupt{});
    for (const float value : result) ASSERT_LT(std::abs(value), 4'000'000.0f);
  }
}

TEST(Clip, CanBeStopped) {
  std::mt19937 random(7);
  Component component = random_component(64, 64, 1, 1, random);
  EXPECT_EQ(test::fault_of([&] { clip({&component.info, 1}, test::Stop{}); }), Fault::cancelled);
}

// Photographs: every 16th, and those of which decoders cut most.
TEST(EncodeFile, PhotographsAreNearTheirPixels) {
  const std::vector<std::string> most_cut = {"sunrise168.jpg", "sunrise19.jpg", "sunrise218.jpg", "sunrise219.jpg",
                                             "sunrise96.jpg"};
  for (const char* set : {"weather", "blood_cells"}) {
    const auto folder = test::data_folder() / set;
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no pictures at " << folder;
    std::vector<std::filesystem::path> all(std::filesystem::directory_iterator(folder), {}), paths;
    std::erase_if(all, [](const auto& path) { return !path.extension().string().starts_with(".jp"); });
    std::sort(all.begin(), all.end());
    for (std::size_t n = 0; n < all.size(); ++n) {
      const bool is_known = std::find(most_cut.begin(), most_cut.end(), all[n].filename().string()) != most_cut.end();
      if (n % 16 == 0 || is_known) paths.push_back(all[n]);
    }
    for (const char* text : kFormats) {
      Distances distances;
      for (const auto& path : paths) {
        const double rms = rms_against_pixels(test::read_file(path), parse_format(text));
        EXPECT_LT(rms, 1.5) << path << " " << text;
        distances.add(rms);
      }
      std::cout << "[   DATA   ] " << set << " " << text << ": rms " << distances.sum / distances.count << " on average, "
                << distances.largest << " at most, of " << distances.count << "\n";
    }
  }
}

// Far wider than high, into large formats: the products of all columns with a format's rows would take gigabytes.
TEST(EncodeFile, ProductsThatAreTooLargeComeFromPixels) {
  constexpr std::int64_t kMiB = 1 << 20;
  EXPECT_LT(recombine_memory(320, 240, parse_format("1x1/b32/k32/q1")), kMiB);
  EXPECT_LT(recombine_memory(6000, 4000, parse_format("1x1/b32/k32/q1")), 256 * kMiB);
  EXPECT_LT(recombine_memory(12000, 8000, parse_format("1x1/b32/k6/q50@256")), 256 * kMiB);
  EXPECT_GT(recombine_memory(65500, 1526, parse_format("1x1/b32/k32/q1@8184")), 4096 * kMiB);
  EXPECT_GT(recombine_memory(65535, 65535, parse_format("1x1/b8/k8/q1")), 32768 * kMiB);
  const Format format = parse_format("1x1/b32/k32/q1@1024");
  for (const auto& [width, is_large] : {std::pair{24000, false}, {40000, true}}) {
    const File file = test::compress(test::drawn_picture(width, 8, 1), 75, {1, 1});
    EXPECT_EQ(recombine_memory(width, 8, format) > 256 * kMiB, is_large);
    const Picture pixels = read_jpeg(file, Limits{}, Interrupt{}, Upsampling::repeated);
    EXPECT_EQ(encode_whole(file, format).values == encode(pixels, format, Interrupt{}).values, is_large) << width;
  }
}

TEST(EncodeFile, ManyKeptCoefficientsComeFromPixels) {
  const Picture picture = test::drawn_picture(200, 150, 3);
  const File file = test::compress(picture, 90, {2, 2});
  const Format format = parse_format("1x1/b64/k40/q1");
  const Picture pixels = read_jpeg(file, Limits{}, Interrupt{}, Upsampling::repeated);
  EXPECT_EQ(encode_whole(file, format).values, encode(pixels, format, Interrupt{}).values);
  const Coefficients near = encode_whole(file, recombined(format)), far = encode(pixels, recombined(format), Interrupt{});
  EXPECT_NE(near.values, far.values);
  EXPECT_EQ(near.source_width, far.source_width);
  EXPECT_EQ(near.source_height, far.source_height);
  EXPECT_EQ(near.coded_width, far.coded_width);
  EXPECT_EQ(near.coded_height, far.coded_height);
}

// Colours that are not JFIF's, and pictures turned upright, have no coefficients to recombine.
TEST(EncodeFile, OtherKindsComeFromPixels) {
  const Format format = parse_format("1x1/b16/k4/q1@96");
  const Picture picture = test::drawn_picture(120, 90, 3), inks = test::drawn_picture(120, 90, 4);
  const File rgb = test::compress(picture, JCS_RGB, [](j_compress_ptr info) { jpeg_set_colorspace(info, JCS_RGB); });
  const File cmyk = test::compress(inks, JCS_CMYK, [](j_compress_ptr) {});
  for (const File& file : {rgb, cmyk}) {
    const Picture pixels = read_jpeg(file, Limits{}, Interrupt{}, Upsampling::repeated);
    EXPECT_EQ(encode_whole(file, format).values, encode(pixels, format, Interrupt{}).values);
  }
}

// A decoder smooths what an unfinished progressive file leaves coarse.
TEST(EncodeFile, UnfinishedProgressiveFilesComeFromPixels) {
  const File file = test::compress(test::drawn_picture(120, 90, 3), JCS_RGB, [](j_compress_ptr info) {
    static const jpeg_scan_info scans[] = {{3, {0, 1, 2}, 0, 0, 0, 0}, {1, {0}, 1, 5, 0, 2}};
    info->scan_info = scans;
    info->num_scans = 2;
  });
  const Format format = parse_format("1x1/b16/k4/q1");
  const Picture pixels = read_jpeg(file, Limits{}, Interrupt{}, Upsampling::repeated);
  EXPECT_EQ(encode_whole(file, format).values, encode(pixels, format, Interrupt{}).values);
}

TEST(EncodeFile, DamageIsAnErrorByEitherWay) {
  const File file = test::compress(test::drawn_picture(120, 90, 3), 80, {2, 2});
  for (const char* text : {"1x1/b16/k4/q1", "1x1/b64/k64/q1"}) {
    const Format format = parse_format(text);
    const auto encode_part = [&](std::size_t size) { encode_whole(Bytes(file).first(size), format); };
    for (std::size_t size = 2; size + 8 < file.size(); size += 7) {
      EXPECT_EQ(test::fault_of([&] { encode_part(size); }), Fault::bad_picture) << text << " " << size;
    }
    EXPECT_NO_THROW(encode_part(file.size() - 2));
    EXPECT_EQ(test::fault_of([&] { encode_file(file, format, Limits{100, 100}, Interrupt{}); }), Fault::limit_exceeded);
    EXPECT_EQ(test::fault_of([&] { encode_file(file, format, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
  EXPECT_EQ(test::fault_of([&] { encode_whole(file, Format{Subsampling::none, 8, 9, 50, 0}); }), Fault::bad_format);
}

// Threads keep operators and memory of their own; what they kept from other pictures changes nothing.
TEST(EncodeFile, IsTheSameInEveryThreadAndOrder) {
  std::vector<std::pair<File, Format>> work;
  for (int n = 0; n < 24; ++n) {
    const Picture picture = test::drawn_picture(80 + 31 * n, 90 + 17 * n, n % 5 == 0 ? 1 : 3, n);
    work.emplace_back(test::compress(picture, 70 + n, test::kSamplings[n % 4]),
                      parse_format(n % 2 == 0 ? "1x1/b32/k5/q9" : "4x4/b8/k4/q9@64"));
  }
  std::vector<std::vector<std::int32_t>> expected(work.size());
  for (std::size_t n = 0; n < work.size(); ++n) expected[n] = encode_whole(work[n].first, work[n].second).values;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t n = 0; n < work.size(); ++n) {
        const std::size_t at = (n * (2 * t + 1) * 5 + t) % work.size();
        EXPECT_EQ(encode_whole(work[at].first, work[at].second).values, expected[at]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace imagecalc
