// RUN: %gradcam_opt %s --gradcam-set-platform=pe=4x2 --convert-gradcam-to-linalg --split-input-file | FileCheck %s
// RUN: not %gradcam_opt %s --gradcam-set-platform=pe=12x4 --convert-gradcam-to-linalg --split-input-file 2>&1 | FileCheck %s --check-prefix=PE

// PE: pe '12x4' needs powers of two for both sides

!x = !quant.uniform<i8:f32, 1.000000e-01>
!w = !quant.uniform<i8:f32:0, {1.000000e-02, 2.000000e-02, 1.000000e-02, 2.000000e-02, 1.000000e-02}>
!b = !quant.uniform<i32:f32:0, {1.000000e-03, 2.000000e-03, 1.000000e-03, 2.000000e-03, 1.000000e-03}>

// A strided convolution: lanes and borders by tensor.pad, weights in tiles, the rescale in 48 bits.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1 * 2 + d4, d2 * 2 + d5, d3 * 2 + d7)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d3, d4, d5, d6, d7)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d0 * 4 + d6)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// CHECK-DAG: #[[CHANNEL:.*]] = affine_map<(d0, d1, d2) -> (d2)>
// CHECK-LABEL: func.func @conv(
// CHECK-SAME: %[[ARG:.*]]: tensor<6x6x3xi8>) -> tensor<3x3x5xi8>
// CHECK: %[[LANES:.*]] = tensor.pad %[[ARG]] low[0, 0, 0] high[0, 0, 1]
// CHECK: tensor<6x6x3xi8> to tensor<6x6x4xi8>
// CHECK: %[[TILES:.*]] = arith.constant dense<{{.*}}> : tensor<2x2x3x3x4x2xi8>
// The last window ends inside the input: no border below and to the right.
// CHECK: %[[PADDED:.*]] = tensor.pad %[[LANES]] low[1, 1, 0] high[0, 0, 0]
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#[[X]], #[[W]], #[[Y]]]
// CHECK-SAME: ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "parallel", "reduction"]
// CHECK-SAME: ins(%[[PADDED]], %[[TILES]] : tensor<7x7x4xi8>, tensor<2x2x3x3x4x2xi8>)
// CHECK-SAME: outs({{.*}} : tensor<3x3x8xi32>)
// CHECK: arith.muli {{.*}} : i16
// CHECK: arith.addi {{.*}} : i32
// CHECK: %[[BIAS:.*]] = arith.constant dense<[1, -2, 3, -4, 5, 0, 0, 0]> : tensor<8xi32>
// CHECK: %[[M:.*]] = arith.constant dense<[20972, 41944, 20972, 41944, 20972, 1, 1, 1]> : tensor<8xi18>
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#[[ALL]], #[[CHANNEL]], #[[CHANNEL]], #[[ALL]]]
// CHECK-SAME: ins({{.*}}, %[[BIAS]], %[[M]] :
// CHECK: arith.addi {{.*}} : i32
// CHECK: arith.muli {{.*}} : i49
// CHECK: arith.addi {{.*}} : i49
// CHECK: arith.shrsi {{.*}} : i49
// CHECK: arith.trunci {{.*}} : i49 to i32
// CHECK: arith.maxsi {{.*}} : i32
// CHECK: arith.minsi {{.*}} : i32
// CHECK: arith.trunci {{.*}} : i32 to i8
// CHECK: tensor.extract_slice {{.*}} : tensor<3x3x8xi8> to tensor<3x3x5xi8>
func.func @conv(%x: tensor<1x3x6x6x!x>) -> tensor<1x5x3x3x!x> {
  %cw = arith.constant dense<1> : tensor<5x3x3x3xi8>
  %w = quant.scast %cw : tensor<5x3x3x3xi8> to tensor<5x3x3x3x!w>
  %cb = arith.constant dense<[1, -2, 3, -4, 5]> : tensor<5xi32>
  %b = quant.scast %cb : tensor<5xi32> to tensor<5x!b>
  %y = "gradcam.conv2d"(%x, %w, %b) {stride = [2, 2], padding = [1, 1], dilation = [1, 1], groups = 1 : i64,
    operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x3x6x6x!x>, tensor<5x3x3x3x!w>, tensor<5x!b>) -> tensor<1x5x3x3x!x>
  return %y : tensor<1x5x3x3x!x>
}

// -----

!x = !quant.uniform<i8:f32, 1.000000e-01>

// Padding never wins a maximum; the second input only gives the loop extents.
// CHECK-LABEL: func.func @max_pool
// CHECK: %[[BORDER:.*]] = arith.constant -128 : i8
// CHECK: tensor.pad {{.*}} low[1, 1, 0] high[0, 0, 0]
// CHECK: tensor.yield %[[BORDER]]
// CHECK: linalg.generic
// CHECK-SAME: ["parallel", "parallel", "parallel", "reduction", "reduction", "parallel"]
// CHECK-SAME: tensor<7x7x4xi8>, tensor<1x3x3x4xi8>
// CHECK: arith.maxsi {{.*}} : i8
func.func @max_pool(%x: tensor<1x3x6x6x!x>) -> tensor<1x3x3x3x!x> {
  %y = "gradcam.max_pool2d"(%x) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]}
    : (tensor<1x3x6x6x!x>) -> tensor<1x3x3x3x!x>
  return %y : tensor<1x3x3x3x!x>
}

// -----

!x = !quant.uniform<i8:f32, 1.000000e-01>
!w = !quant.uniform<i8:f32, 1.000000e-02>
!l = !quant.uniform<i32:f32, 1.000000e-03>

// The classifier's row is a lane of its own packed weights; the map is a lane of the product.
// CHECK-LABEL: func.func @explain(
// CHECK-SAME: -> (tensor<6xi32>, tensor<1x1xi32>)
// CHECK: %[[TILES:.*]] = arith.constant dense<{{.*}}> : tensor<2x2x1x1x4x2xi8>
// CHECK: linalg.index 0
// CHECK: arith.cmpi sgt
// CHECK: arith.cmpi sge
// Of a class that is asked for only the bits of one of six count.
// CHECK: arith.trunci {{.*}} : i32 to i3
// CHECK: %[[CLASS:.*]] = arith.index_cast {{.*}} : i32 to index
// CHECK: %[[TILE:.*]] = arith.floordivsi %[[CLASS]]
// CHECK: %[[LANE:.*]] = arith.remsi %[[CLASS]]
// CHECK: %[[ROW:.*]] = tensor.extract_slice %[[TILES]][%[[TILE]], 0, 0, 0, 0, 0] [1, 2, 1, 1, 4, 2]
// CHECK: linalg.generic {{.*}} ins({{.*}}, %[[ROW]]
// CHECK: %[[ONE:.*]] = tensor.extract_slice {{.*}}[0, 0, %[[LANE]]] [1, 1, 1] [1, 1, 1] : tensor<1x1x4xi32> to tensor<1x1x1xi32>
// CHECK: linalg.generic {{.*}} ins(%[[ONE]] : tensor<1x1x1xi32>) outs({{.*}} : tensor<1x1x1xi32>)
func.func @explain(%x: tensor<1x3x1x1x!x>, %class: tensor<1xi32>) -> (tensor<1x6x!l>, tensor<1x1x1x!l>) {
  %cw = arith.constant dense<1> : tensor<6x3xi8>
  %w = quant.scast %cw : tensor<6x3xi8> to tensor<6x3x!w>
  %f = "gradcam.flatten"(%x) : (tensor<1x3x1x1x!x>) -> tensor<1x3x!x>
  %y = "gradcam.linear"(%f, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x3x!x>, tensor<6x3x!w>) -> tensor<1x6x!l>
  %c = "gradcam.select_class"(%y, %class) : (tensor<1x6x!l>, tensor<1xi32>) -> tensor<1xi32>
  %r = "gradcam.class_row"(%w, %c) : (tensor<6x3x!w>, tensor<1xi32>) -> tensor<1x3x!w>
  %m = "gradcam.weighted_sum"(%r, %x) : (tensor<1x3x!w>, tensor<1x3x1x1x!x>) -> tensor<1x1x1x!l>
  return %y, %m : tensor<1x6x!l>, tensor<1x1x1x!l>
}

// -----

!x = !quant.uniform<i8:f32, 1.000000e-01>

// One nest makes the maxima and the taps that hold them; each has its own location. The adjoint gathers by parity: row
// parity 1 of a stride of 2 is under taps 0 and 2, parity 0 under tap 1 alone.
// CHECK-LABEL: func.func @max_pool_and_unpool(
// CHECK: %[[TAPS:.*]] = arith.constant dense<{{.*}}> : tensor<3x1x1xi8>
// CHECK: %[[BOTH:.*]]:2 = linalg.generic
// CHECK: arith.cmpi sgt
// CHECK: } -> (tensor<2x5x4xi8>, tensor<2x5x4xi8>)
// CHECK: tensor.extract_slice {{.*}}[1, 0, 0] [1, 1, 1] [1, 1, 1] : tensor<3x1x1xi8>
// CHECK: arith.cmpi eq
// CHECK: arith.select
// CHECK: tensor.extract_slice {{.*}}[0, 0, 0] [2, 1, 1] [2, 1, 1] : tensor<3x1x1xi8> to tensor<2x1x1xi8>
// CHECK: arith.cmpi eq
// CHECK: arith.select
func.func @max_pool_and_unpool(%x: tensor<1x3x4x5x!x>) -> tensor<1x3x4x5x!x> {
  %y = "gradcam.max_pool2d"(%x) {kernel = [3, 1], stride = [2, 1], padding = [1, 0], dilation = [1, 1]} : (tensor<1x3x4x5x!x>) -> tensor<1x3x2x5x!x>
  %i = "gradcam.max_pool2d_index"(%x) {kernel = [3, 1], stride = [2, 1], padding = [1, 0], dilation = [1, 1]} : (tensor<1x3x4x5x!x>) -> tensor<1x3x2x5xi8>
  %g = "gradcam.max_unpool2d"(%y, %i) {kernel = [3, 1], stride = [2, 1], padding = [1, 0], dilation = [1, 1]} : (tensor<1x3x2x5x!x>, tensor<1x3x2x5xi8>) -> tensor<1x3x4x5x!x>
  return %g : tensor<1x3x4x5x!x>
}

// -----

!g = !quant.uniform<i8:f32:1, {1.000000e+00, 5.000000e-01, 1.000000e+00, 5.000000e-01, 1.000000e+00}>
!w = !quant.uniform<i8:f32:0, {1.000000e-02, 2.000000e-02, 1.000000e-02, 2.000000e-02, 1.000000e-02}>
!x = !quant.uniform<i8:f32, 1.000000e-01>

// One window along the height, two along the width: row y of the map has tap y + 1, the padding has tap 0, and no tap
// reaches the last row. So the loop over rows of taps has one iteration, in which the gradient's only row is read.
// CHECK-DAG: #[[G:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d4, d2 - d5 + 1, d3 * 4 + d7)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d3, d0, d1, d5, d7, d6)>
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d0 * 2 + d6)>
// CHECK-LABEL: func.func @one_window_along_the_height(
// CHECK: %[[TILES:.*]] = arith.constant dense<{{.*}}> : tensor<2x2x4x2x4x2xi8>
// CHECK: %[[PADDED:.*]] = tensor.pad {{.*}} low[0, 1, 0] high[0, 1, 0]
// CHECK: %[[TAPS:.*]] = tensor.extract_slice %[[TILES]][0, 0, 1, 0, 0, 0] [2, 2, 3, 2, 4, 2]
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#[[G]], #[[W]], #[[X]]]
// CHECK-SAME: ins(%[[PADDED]], %[[TAPS]] : tensor<1x4x8xi8>, tensor<2x2x3x2x4x2xi8>)
// CHECK-SAME: outs({{.*}} : tensor<3x3x4xi32>)
// CHECK: tensor.insert_slice {{.*}}[0, 0, 0] [3, 3, 4] [1, 1, 1] : tensor<3x3x4xi8> into tensor<4x3x4xi8>
func.func @one_window_along_the_height(%g: tensor<1x5x1x2x!g>) -> tensor<1x3x4x3x!x> {
  %cw = arith.constant dense<1> : tensor<5x3x4x2xi8>
  %w = quant.scast %cw : tensor<5x3x4x2xi8> to tensor<5x3x4x2x!w>
  %x = "gradcam.conv2d_adjoint"(%g, %w) {stride = [4, 1], padding = [1, 0], dilation = [1, 1], groups = 1 : i64}
    : (tensor<1x5x1x2x!g>, tensor<5x3x4x2x!w>) -> tensor<1x3x4x3x!x>
  return %x : tensor<1x3x4x3x!x>
}

// -----

!x = !quant.uniform<i8:f32, 5.000000e-01>

// Output tile d0 of a shuffle of two maps, of 4 tiles of input lanes each, reads tile d0 of either: segment d4 of 2.
// CHECK-DAG: #[[IN:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, (d0 + d4 * 4 + d3) * 2 + d7)>
// CHECK-DAG: #[[TILES:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d3, d4, d5, d6, d7)>
// CHECK-DAG: #[[OUT:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d0 * 4 + d6)>
// CHECK-LABEL: func.func @shuffle(
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#[[IN]], #[[TILES]], #[[OUT]]]
// CHECK-SAME: tensor<4x1x2x1x4x2xi8>
func.func @shuffle(%x: tensor<1x16x3x5x!x>) -> tensor<1x16x3x5x!x> {
  %y = "gradcam.take_channels"(%x) {order = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]}
    : (tensor<1x16x3x5x!x>) -> tensor<1x16x3x5x!x>
  return %y : tensor<1x16x3x5x!x>
}
