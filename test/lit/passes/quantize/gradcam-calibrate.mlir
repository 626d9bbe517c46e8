// RUN: %python -c "import numpy as np; np.save('%t.npy', np.array([[[[1, -4]]], [[[2, 3]]]], np.float32))"
// RUN: gradcam-opt %s --gradcam-calibrate='images=%t.npy range=max' | FileCheck %s
// RUN: gradcam-opt %s --gradcam-calibrate='images=%t.npy range=percentile percentile=50' | FileCheck %s --check-prefix=HALF
// RUN: not gradcam-opt %s --gradcam-calibrate='images=%t.missing.npy' 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not gradcam-opt %s --gradcam-calibrate='images=%t.npy range=median' 2>&1 | FileCheck %s --check-prefix=CHOICE

// RUN: not gradcam-opt %s --gradcam-calibrate='images=%t.npy activation-bits=13' 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: gradcam-opt %s --gradcam-calibrate='images=%t.npy activation-bits=9' | FileCheck %s --check-prefix=NINE

// Ranges with the least squared error are for a number of bits, which is kept; others are not.
// NINE: attributes {gradcam.range_bits = 9 : i64}

// CHECK-NOT: gradcam.range_bits
// CHECK: func.func @main(%{{.*}}: tensor<1x1x1x2xf32> {gradcam.range = 4.000000e+00 : f64})
// CHECK: "gradcam.relu"(%{{.*}}) {gradcam.range = 3.000000e+00 : f64}
// CHECK: "gradcam.flatten"(%{{.*}}) {gradcam.range = 3.000000e+00 : f64}

// Bins of 8 / 8192: the second of four magnitudes is 2, in the bin that ends at 2 + 2^-10.
// HALF: gradcam.range = 2.0009765625 : f64

// MISSING: error: cannot read {{.*}}missing.npy: there is no such file
// CHOICE: option 'range' of pass 'gradcam-calibrate' takes one of mse, percentile, max, got 'median'
// BITS: error: pass 'gradcam-calibrate': option 'activation-bits' must be from 8 to 12, got 13{{$}}

func.func @main(%image: tensor<1x1x1x2xf32>) -> tensor<1x2xf32> {
  %0 = "gradcam.relu"(%image) : (tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  %1 = "gradcam.flatten"(%0) : (tensor<1x1x1x2xf32>) -> tensor<1x2xf32>
  return %1 : tensor<1x2xf32>
}
