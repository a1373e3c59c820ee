// One ResMLP block in training, forward and backward, float32, image by image in the cache.
//
//   x1 = x + s1w * (Wt . BN1(x) + bt) + s1b                     token mixer, Wt [T, T]
//   y  = x1 + W2 . act2(W1 . act1(BN2(x1)) + b1) + b2           channel mixer, W1 [H, C], W2 [C, H]
//
// Images are [T, C], channels innermost. act1 and act2 are interpolated tables (linear pieces on [-bound, bound], end
// pieces extrapolate) or, without tables, identity and ReLU. Only x and x1 are kept between the directions; all else is
// computed again. Weight gradients are summed in PARTS fixed parts of the batch, so that results do not depend on the
// number of threads.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "function.h"
#include "product.h"

namespace {

constexpr int PARTS = 16;  // of a batch, that are summed apart

struct Shape {
  int64_t images, tokens, channels, hidden, grid1, grid2;
  double bound, eps;
};

// of the parameters, in this order
enum { N1W, N1B, WT, BT, S1W, S1B, N2W, N2B, TABLE1, W1, B1, TABLE2, W2, B2 };

struct Norm {  // y = gain * x + offset from batch statistics
  std::vector<float> mean, gain, offset, rstd;
  Norm(const float* mean_, const float* var, const float* weight, const float* bias, int channels, double eps)
      : mean(mean_, mean_ + channels), gain(channels), offset(channels), rstd(channels) {
    for (int c = 0; c < channels; c++) {
      rstd[c] = float(1 / std::sqrt(double(var[c]) + eps));
      gain[c] = weight[c] * rstd[c];
      offset[c] = bias[c] - mean[c] * gain[c];
    }
  }
};

// mean and sum of squared deviations of one image's channels
void moments(const float* x, int tokens, int channels, float* mean, float* squares) {
  for (int c = 0; c < channels; c += LANES) {
    vec sum{}, square{};
    for (int t = 0; t < tokens; t++) sum += at(x + t * channels + c);
    vec center = sum / float(tokens);
    for (int t = 0; t < tokens; t++) {
      vec d = at(x + t * channels + c) - center;
      square += d * d;
    }
    at(mean + c) = center;
    at(squares + c) = square;
  }
}

// the batch's mean and biased variance from those of its images
void combine(const float* means, const float* squares, int images, int tokens, int channels, float* mean, float* var) {
  std::vector<double> sum(channels), square(channels);
  for (int n = 0; n < images; n++)
    for (int c = 0; c < channels; c++) sum[c] += means[n * channels + c];
  for (int n = 0; n < images; n++)
    for (int c = 0; c < channels; c++) {
      double d = means[n * channels + c] - sum[c] / images;
      square[c] += squares[n * channels + c] + tokens * d * d;
    }
  for (int c = 0; c < channels; c++) {
    mean[c] = float(sum[c] / images);
    var[c] = float(square[c] / images / tokens);
  }
}

struct Weights {  // of the channel mixer, hidden padded to a multiple of 16 with zeros
  int padded;
  Buffer w1, w1t, w2, w2t, b1;  // [H', C], [C, H'], [C, H'], [H', C], [H']
  Weights(const float* const* p, int c, int h)
      : padded((h + LANES - 1) / LANES * LANES), w1(size_t(padded) * c), w1t(size_t(padded) * c), w2(size_t(padded) * c),
        w2t(size_t(padded) * c), b1(padded) {
    memcpy(w1, p[W1], sizeof(float) * h * c);
    memcpy(b1, p[B1], sizeof(float) * h);
    transpose(p[W1], h, c, w1t, padded);
    transpose(p[W2], c, h, w2t, c);
    for (int r = 0; r < c; r++) memcpy(w2 + r * padded, p[W2] + r * h, sizeof(float) * h);
  }
};

// rows of gain * x + offset
void scale_rows(const float* x, const Norm& norm, float* out, int rows, int channels) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < channels; c += LANES)
      at(out + r * channels + c) = at(x + r * channels + c) * at(&norm.gain[c]) + at(&norm.offset[c]);
}

// The channel mixer up to its second matrix, of an image's tokens: a = norm(x), then act1(a) into `first`, whose product
// with W1, plus b1, goes into b, and act2(b) into `second`; either function may work in place.
void hidden_rows(const float* x, const Norm& norm, const Function& act1, const Function& act2, const Weights& w, int tokens,
                 int channels, float* a, float* first, float* b, float* second) {
  const int hidden = w.padded;
  scale_rows(x, norm, a, tokens, channels);
  act1.forward(a, first, tokens);
  product(tokens, hidden, channels, first, channels, 1, w.w1t, hidden, b, hidden, false);
  for (int t = 0; t < tokens; t++)
    for (int h = 0; h < hidden; h += LANES) at(b + t * hidden + h) += at(w.b1 + h);
  act2.forward(b, second, tokens);
}

}  // namespace

// x, x1, y [N, T, C]; stats [4, C]: mean and biased variance of BN1's and BN2's inputs
extern "C" void block_forward(const float* x, float* x1, float* y, float* stats, const float* const* p, const Shape* s) {
  const int images = s->images, T = s->tokens, C = s->channels, size = T * C;
  const Weights w(p, C, s->hidden);
  const int H = w.padded;
  const Function act1(p[TABLE1], C, C, s->grid1, s->bound, false), act2(p[TABLE2], s->hidden, H, s->grid2, s->bound, true);
  Buffer means(size_t(images) * C), squares(size_t(images) * C);
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) moments(x + size_t(n) * size, T, C, means + n * C, squares + n * C);
  combine(means, squares, images, T, C, stats, stats + C);
  const Norm norm1(stats, stats + C, p[N1W], p[N1B], C, s->eps);
#pragma omp parallel
  {
    Buffer xn(size), mixed(size);
#pragma omp for schedule(static)
    for (int n = 0; n < images; n++) {
      const float* in = x + size_t(n) * size;
      float* out = x1 + size_t(n) * size;
      scale_rows(in, norm1, xn, T, C);
      product(T, C, T, p[WT], T, 1, xn, C, mixed, C, false);
      for (int t = 0; t < T; t++)
        for (int c = 0; c < C; c += LANES)
          at(out + t * C + c) = at(in + t * C + c) + (at(mixed + t * C + c) + p[BT][t]) * at(p[S1W] + c) + at(p[S1B] + c);
      moments(out, T, C, means + n * C, squares + n * C);
    }
  }
  combine(means, squares, images, T, C, stats + 2 * C, stats + 3 * C);
  const Norm norm2(stats + 2 * C, stats + 3 * C, p[N2W], p[N2B], C, s->eps);
#pragma omp parallel
  {
    Buffer a(size), b(size_t(T) * H), out_rows(size);
#pragma omp for schedule(static)
    for (int n = 0; n < images; n++) {
      const float* in = x1 + size_t(n) * size;
      hidden_rows(in, norm2, act1, act2, w, T, C, a, a, b, b);
      product(T, C, H, b, H, 1, w.w2t, C, out_rows, C, false);
      float* out = y + size_t(n) * size;
      for (int t = 0; t < T; t++)
        for (int c = 0; c < C; c += LANES) at(out + t * C + c) = at(in + t * C + c) + at(out_rows + t * C + c) + at(p[B2] + c);
    }
  }
}

// gy -> gx [N, T, C] and the gradients of all parameters, in the parameters' order and shapes, one after the other in `grads`
extern "C" void block_backward(const float* x, const float* x1, const float* stats, const float* gy, float* gx, float* grads,
                               const float* const* p, const Shape* s) {
  const int images = s->images, T = s->tokens, C = s->channels, size = T * C, hidden = s->hidden;
  const int grid1 = s->grid1, grid2 = s->grid2;
  const Weights w(p, C, hidden);
  const int H = w.padded;
  const Function act1(p[TABLE1], C, C, grid1, s->bound, false), act2(p[TABLE2], hidden, H, grid2, s->bound, true);
  const Norm norm1(stats, stats + C, p[N1W], p[N1B], C, s->eps), norm2(stats + 2 * C, stats + 3 * C, p[N2W], p[N2B], C, s->eps);
  // what each part of the batch sums up
  const size_t sizes[] = {size_t(H) * C,         size_t(H), size_t(H) * C, size_t(C), size_t(C) * grid1 * 2, size_t(H) * grid2 * 2,
                          size_t(C),             size_t(C), size_t(T) * T, size_t(T), size_t(C),             size_t(C),
                          size_t(C),             size_t(C)};
  enum { GW1, GB1, GW2, GB2, GT1, GT2, SUM2, DOT2, GWT, GBT, GS1W, GS1B, SUM1, DOT1, SUMS };
  size_t offset[SUMS + 1] = {0};
  for (int i = 0; i < SUMS; i++) offset[i + 1] = offset[i] + (sizes[i] + LANES - 1) / LANES * LANES;
  const size_t total = offset[SUMS];
  Buffer parts(total * PARTS);
  std::vector<float> gh0_all(size_t(images) * size);  // gradient behind BN2, then behind BN1
  float* behind = gh0_all.data();
#pragma omp parallel
  {
    Buffer a0(size), a(size), b0(size_t(T) * H), b(size_t(T) * H), g(size_t(T) * H);
#pragma omp for schedule(static, 1)
    for (int part = 0; part < PARTS; part++) {
      float* sum = parts + total * part;
      for (int n = images * part / PARTS; n < images * (part + 1) / PARTS; n++) {
        const float* in = x1 + size_t(n) * size;
        const float* up = gy + size_t(n) * size;
        float* down = behind + size_t(n) * size;
        hidden_rows(in, norm2, act1, act2, w, T, C, a0, a, b0, b);
        product(C, H, T, up, 1, C, b, H, sum + offset[GW2], H, true);
        product(T, H, C, up, C, 1, w.w2, H, g, H, false);
        act2.backward(b0, g, T, reinterpret_cast<Pair*>(sum + offset[GT2]));
        product(H, C, T, g, 1, H, a, C, sum + offset[GW1], C, true);
        product(T, C, H, g, H, 1, w.w1, C, down, C, false);
        act1.backward(a0, down, T, reinterpret_cast<Pair*>(sum + offset[GT1]));
        for (int t = 0; t < T; t++) {
          for (int h = 0; h < H; h += LANES) at(sum + offset[GB1] + h) += at(g + t * H + h);
          for (int c = 0; c < C; c += LANES) {
            vec d = at(down + t * C + c);
            at(sum + offset[GB2] + c) += at(up + t * C + c);
            at(sum + offset[SUM2] + c) += d;
            at(sum + offset[DOT2] + c) += d * (at(in + t * C + c) - at(&norm2.mean[c])) * at(&norm2.rstd[c]);
          }
        }
      }
    }
  }
  auto total_of = [&](int which, int count) {
    std::vector<float> out(count);
    for (int i = 0; i < count; i++) {
      double sum = 0;
      for (int part = 0; part < PARTS; part++) sum += parts[total * part + offset[which] + i];
      out[i] = float(sum);
    }
    return out;
  };
  const std::vector<float> sum2 = total_of(SUM2, C), dot2 = total_of(DOT2, C);
  const float rows = float(images) * T;
  Buffer wtt(size_t(T) * T);
  transpose(p[WT], T, T, wtt, T);
#pragma omp parallel
  {
    Buffer xn(size), xnt(size), gm(size), back(size);
#pragma omp for schedule(static, 1)
    for (int part = 0; part < PARTS; part++) {
      float* sum = parts + total * part;
      for (int n = images * part / PARTS; n < images * (part + 1) / PARTS; n++) {
        const float* in = x + size_t(n) * size;
        const float* in1 = x1 + size_t(n) * size;
        const float* up = gy + size_t(n) * size;
        float* down = behind + size_t(n) * size;
        float* gx1 = gx + size_t(n) * size;
        for (int t = 0; t < T; t++) {
          vec over_channels{};
          for (int c = 0; c < C; c += LANES) {
            const int i = t * C + c;
            vec hat = (at(in1 + i) - at(&norm2.mean[c])) * at(&norm2.rstd[c]);
            vec g = at(up + i) + at(&norm2.gain[c]) * (at(down + i) - at(&sum2[c]) / rows - hat * at(&dot2[c]) / rows);
            vec scaled = g * at(p[S1W] + c);
            at(gx1 + i) = g;
            at(gm + i) = scaled;
            over_channels += scaled;
            at(sum + offset[GS1B] + c) += g;
            at(sum + offset[GS1W] + c) += g * p[BT][t];
          }
          for (int lane = 0; lane < LANES; lane++) sum[offset[GBT] + t] += over_channels[lane];
        }
        scale_rows(in, norm1, xn, T, C);
        transpose(xn, T, C, xnt, T);
        product(T, T, C, gm, C, 1, xnt, T, sum + offset[GWT], T, true);
        product(T, C, T, wtt, T, 1, gx1, C, back, C, false);
        for (int t = 0; t < T; t++)
          for (int c = 0; c < C; c += LANES) {
            const int i = t * C + c;
            vec unscaled = at(back + i), d = unscaled * at(p[S1W] + c);
            at(down + i) = d;
            at(sum + offset[GS1W] + c) += at(xn + i) * unscaled;
            at(sum + offset[SUM1] + c) += d;
            at(sum + offset[DOT1] + c) += d * (at(in + i) - at(&norm1.mean[c])) * at(&norm1.rstd[c]);
          }
      }
    }
  }
  const std::vector<float> sum1 = total_of(SUM1, C), dot1 = total_of(DOT1, C);
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++)
    for (int t = 0; t < T; t++)
      for (int c = 0; c < C; c += LANES) {
        const size_t i = size_t(n) * size + t * C + c;
        vec hat = (at(x + i) - at(&norm1.mean[c])) * at(&norm1.rstd[c]);
        at(gx + i) += at(&norm1.gain[c]) * (at(behind + i) - at(&sum1[c]) / rows - hat * at(&dot1[c]) / rows);
      }
  auto give = [&](const std::vector<float>& values) {
    memcpy(grads, values.data(), values.size() * sizeof(float));
    grads += values.size();
  };
  auto give_table = [&](int which, int channels, int grid) {  // pieces' (g, g * part) to knots
    std::vector<float> sums = total_of(which, channels * grid * 2), out(size_t(channels) * grid);
    for (int c = 0; c < channels; c++)
      for (int k = 0; k + 1 < grid; k++) {
        const float* piece = &sums[size_t(c * grid + k) * 2];
        out[c * grid + k] += piece[0] - piece[1];
        out[c * grid + k + 1] += piece[1];
      }
    give(out);
  };
  give(dot1);
  give(sum1);
  give(total_of(GWT, T * T));
  give(total_of(GBT, T));
  give(total_of(GS1W, C));
  give(total_of(GS1B, C));
  give(dot2);
  give(sum2);
  give_table(GT1, C, grid1);
  give(total_of(GW1, hidden * C));
  give(total_of(GB1, hidden));
  give_table(GT2, hidden, grid2);
  const std::vector<float> gw2 = total_of(GW2, H * C);
  for (int c = 0; c < C; c++) give(std::vector<float>(gw2.begin() + c * H, gw2.begin() + c * H + hidden));
  give(total_of(GB2, C));
}
