// RUN: %gradcam_opt %s -o %t.core.mlir --pass-pipeline='builtin.module(gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles,convert-affine-to-hw,gradcam-add-core)'
// RUN: FileCheck %s < %t.core.mlir
// RUN: %gradcam_opt %t.core.mlir --gradcam-sv-pipeline -o /dev/null

// A program with a stream of pixels of three channels in, and of logits out. A pixel is a beat, in a power of two of
// bytes; the buffer keeps only what it has of them. A result is its packet number and the logits.
// CHECK: hw.module @gradcam_top(
// CHECK: hw.module @registers(in %clk : !seq.clock, in %rst : i1, in %awvalid : i1, in %awaddr : i12, in %awprot : i3,
// CHECK: hw.module @image_buffer({{.+}} in %put_data : i24,{{.+}}comment = "Frame buffer: one packet of 8 words"
// CHECK: hw.module @result_buffer({{.+}} in %put_data : i32,{{.+}}comment = "Frame buffer: one packet of 7 words"
// CHECK: hw.module @gradcam_core(in %aclk : !seq.clock, in %aresetn : i1, in %s_axi_control_awvalid : i1, in %s_axi_control_awaddr : i12, in %s_axi_control_awprot : i3,
// CHECK-SAME: in %s_axis_image_tvalid : i1, in %s_axis_image_tdata : i32, in %s_axis_image_tlast : i1, in %m_axis_result_tready : i1, out interrupt : i1,
// CHECK-SAME: out s_axis_image_tready : i1, out m_axis_result_tvalid : i1, out m_axis_result_tdata : i32, out m_axis_result_tkeep : i4, out m_axis_result_tlast : i1)
// Weights are on chip: there is no read manager.
// CHECK-NOT: m_axi_weights
// CHECK: hw.instance "gradcam_top" @gradcam_top(
module {
func.func @main(%image: memref<8x3xi8> {gradcam.name = "image"}, %logits: memref<6xi32> {gradcam.name = "logits"}) {
  %x = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (3) {
      %v = affine.load %image[%i, %l] : memref<8x3xi8>
      affine.store %v, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 6 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i, %l] : memref<8x4xi8>
      %w = arith.extsi %v : i8 to i32
      affine.store %w, %logits[%i] : memref<6xi32>
    }
  }
  return
}
}
