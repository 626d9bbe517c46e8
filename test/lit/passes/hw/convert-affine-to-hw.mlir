// RUN: %gradcam_opt %s --split-input-file --verify-diagnostics -o %t.hw.mlir --pass-pipeline='builtin.module(gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles,convert-affine-to-hw)'
// RUN: FileCheck %s < %t.hw.mlir
// Taken up as hw IR, and on to sv and to what CIRCT prints as Verilog:
// RUN: %gradcam_opt %t.hw.mlir --gradcam-sv-pipeline -o %t.sv.mlir
// RUN: FileCheck %s --check-prefix=SV < %t.sv.mlir
// RUN: %gradcam_opt %t.hw.mlir --canonicalize --cse | FileCheck %s

// A convolution of stride 2 with padding on a 2x2 array, with bias, rescale and clamp, between a stream in and one out.

// CHECK: hw.module @sequencer(in %clk : !seq.clock, in %rst : i1, in %start : i1, in %load_done : i1, in %mac_done : i1, in %store_done : i1, out busy : i1, out done : i1, out nest : i2, out running : i3, out load_go : i1, out mac_go : i1, out store_go : i1)
// CHECK: hw.module @engine_load({{.+}} in %x_valid : i1, in %x_data : i16, out done : i1, out x_ready : i1, out y_en : i1, {{.+}} out y_data : i16)
// CHECK: hw.module @engine_mac({{.+}} in %x_data : i16, in %w_data : i32, in %b_data : i64, in %m_data : i36, out done : i1,
// No multiplier computes an address, and none where a padding test is.
// CHECK-NOT: comb.mul
// CHECK: %guard_x0 = seq.compreg
// CHECK-NOT: comb.mul
// CHECK: %agu_x = seq.compreg
// CHECK-NOT: comb.mul
// CHECK: %agu_w = seq.compreg
// CHECK-NOT: comb.mul
// An accumulator per output lane; a product per multiplier, then one per output lane for the rescale.
// CHECK: %acc0_0 = seq.compreg.ce
// CHECK: %acc0_1 = seq.compreg.ce
// CHECK-NOT: %acc0_2
// CHECK-COUNT-4: comb.mul {{.+}} : i16
// CHECK-COUNT-2: comb.mul {{.+}} : i48
// CHECK-NOT: comb.mul
// The output stream has one element per step: its engine reads one lane, which is picked at the bank.
// CHECK: hw.module @engine_store({{.+}} in %x_data : i8, in %y_ready : i1, out done : i1, out x_en : i1, {{.+}} out y_valid : i1, out y_data : i8)
// CHECK: hw.module @bank0(in %clk : !seq.clock, in %ren : i1, in %raddr : i6, in %wen : i1, in %waddr : i6, in %wdata : i16, out rdata : i16)
// CHECK: sv.reg {{.+}}.attributes = {{.+}}ram_style{{.+}}distributed{{.+}} : !hw.inout<uarray<47xi16>>
// CHECK: hw.module @weights(in %clk : !seq.clock, in %ren : i1, in %raddr : i4, out rdata : i32)
// CHECK: sv.readmem {{.+}}, "mem/weights.hex", MemBaseHex : !hw.inout<uarray<9xi32>>
// CHECK: hw.module @gradcam_top(in %clk : !seq.clock, in %rst : i1, in %start : i1, in %image_valid : i1, in %image_data : i16, in %out_ready : i1, out busy : i1, out done : i1, out nest : i2, out running : i3, out image_ready : i1, out out_valid : i1, out out_data : i8)
// CHECK: hw.instance "sequencer" @sequencer
// CHECK: hw.instance "engine_mac" @engine_mac
// CHECK: [[PICK:%.+]] = comb.extract %engine_store.x_addr from 0 : (i7) -> i1
// CHECK: %bank0_pick2 = seq.compreg.ce [[PICK]], %clk, {{.+}} : i1
// CHECK: hw.instance "weights" @weights

// SV: loweringOptions = "disallowLocalVariables,disallowPackedArrays"
// SV: hw.module @engine_mac(in %clk : i1, in %rst : i1
// SV: %agu_x = sv.reg
// SV-NOT: seq.
// SV: sv.alwaysff(posedge %clk)
// SV: hw.module @gradcam_top(in %clk : i1

#inside = affine_set<(oh, kh, ow, kw) : (oh * 2 + kh - 1 >= 0, -oh * 2 - kh + 7 >= 0, ow * 2 + kw - 1 >= 0, -ow * 2 - kw + 5 >= 0)>
memref.global "private" constant @w : memref<3x3x2x2xi8> = dense<3>
memref.global "private" constant @b : memref<2xi32> = dense<5>
memref.global "private" constant @m : memref<2xi18> = dense<7000>
func.func @main(%image: memref<7x5x2xi8> {gradcam.name = "image"}, %out: memref<4x3x2xi8> {gradcam.name = "out"}) {
  %c0 = arith.constant 0 : i32
  %z = arith.constant 0 : i8
  %lo = arith.constant 0 : i48
  %hi = arith.constant 127 : i48
  %sh = arith.constant 16 : i48
  %half = arith.constant 32768 : i48
  %w = memref.get_global @w : memref<3x3x2x2xi8>
  %b = memref.get_global @b : memref<2xi32>
  %m = memref.get_global @m : memref<2xi18>
  %x = memref.alloc() : memref<7x5x2xi8>
  %y = memref.alloc() : memref<4x3x2xi8>
  %acc = memref.alloca() : memref<2xi32>
  affine.for %i = 0 to 7 {
    affine.for %j = 0 to 5 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %image[%i, %j, %l] : memref<7x5x2xi8>
        affine.store %v, %x[%i, %j, %l] : memref<7x5x2xi8>
      }
    }
  }
  affine.for %oh = 0 to 4 {
    affine.for %ow = 0 to 3 {
      affine.parallel (%o) = (0) to (2) {
        affine.store %c0, %acc[%o] : memref<2xi32>
      }
      affine.for %kh = 0 to 3 {
        affine.for %kw = 0 to 3 {
          affine.parallel (%o) = (0) to (2) {
            %sum = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
              %xv = affine.if #inside(%oh, %kh, %ow, %kw) -> i8 {
                %l = affine.load %x[%oh * 2 + %kh - 1, %ow * 2 + %kw - 1, %i] : memref<7x5x2xi8>
                affine.yield %l : i8
              } else {
                affine.yield %z : i8
              }
              %wv = affine.load %w[%kh, %kw, %o, %i] : memref<3x3x2x2xi8>
              %xe = arith.extsi %xv : i8 to i16
              %we = arith.extsi %wv : i8 to i16
              %p = arith.muli %xe, %we : i16
              %pe = arith.extsi %p : i16 to i32
              affine.yield %pe : i32
            }
            %a = affine.load %acc[%o] : memref<2xi32>
            %n = arith.addi %a, %sum : i32
            affine.store %n, %acc[%o] : memref<2xi32>
          }
        }
      }
      affine.parallel (%o) = (0) to (2) {
        %a = affine.load %acc[%o] : memref<2xi32>
        %bv = affine.load %b[%o] : memref<2xi32>
        %mv = affine.load %m[%o] : memref<2xi18>
        %s = arith.addi %a, %bv : i32
        %s48 = arith.extsi %s : i32 to i48
        %m48 = arith.extsi %mv : i18 to i48
        %r0 = arith.muli %s48, %m48 : i48
        %r1 = arith.addi %r0, %half : i48
        %r2 = arith.shrsi %r1, %sh : i48
        %r3 = arith.maxsi %r2, %lo : i48
        %r4 = arith.minsi %r3, %hi : i48
        %q = arith.trunci %r4 : i48 to i8
        affine.store %q, %y[%oh, %ow, %o] : memref<4x3x2xi8>
      }
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %j = 0 to 3 {
      affine.for %u = 0 to 2 {
        affine.parallel (%l) = (0) to (1) {
          %v = affine.load %y[%i, %j, %u] : memref<4x3x2xi8>
          affine.store %v, %out[%i, %j, %u] : memref<4x3x2xi8>
        }
      }
    }
  }
  return
}

// -----

func.func @quotient(%image: memref<8xi32>, %out: memref<8xi32>) {
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi32>
      // expected-error@+1 {{'arith.divsi' has no hardware form; lanes compute with integer add, multiply, shift, compare and select}}
      %n = arith.divsi %v, %v : i32
      affine.store %n, %out[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @column(%image: memref<4x4xi8>, %out: memref<4x4xi8>) {
  %x = memref.alloc() : memref<4x4xi8>
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<4x4xi8>
      affine.store %v, %x[%i, %l] : memref<4x4xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (4) {
      // expected-error@+1 {{the lanes of an access must be adjacent elements; only its last indices may be lanes}}
      %v = affine.load %x[%l, %i] : memref<4x4xi8>
      affine.store %v, %out[%i, %l] : memref<4x4xi8>
    }
  }
  return
}

// -----

func.func @straddle(%image: memref<6x3xi8>, %out: memref<6xi8>) {
  %x = memref.alloc() : memref<6x3xi8>
  affine.for %i = 0 to 6 {
    affine.parallel (%l) = (0) to (3) {
      %v = affine.load %image[%i, %l] : memref<6x3xi8>
      // expected-error@+1 {{3 lanes do not line up with the 4-lane words of bank0; pad the rows of the buffer}}
      affine.store %v, %x[%i, %l] : memref<6x3xi8>
    }
  }
  affine.for %i = 0 to 6 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i, 0] : memref<6x3xi8>
      affine.store %v, %out[%i] : memref<6xi8>
    }
  }
  return
}

// -----

func.func @thirds(%image: memref<9xi8>, %class: memref<1xi32>, %out: memref<1xi8>) {
  %zero = arith.constant 0 : index
  %x = memref.alloc() : memref<9xi8>
  %r = memref.alloc() : memref<1xi32>
  affine.for %i = 0 to 9 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<9xi8>
      affine.store %v, %x[%i] : memref<9xi8>
    }
  }
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %class[0] : memref<1xi32>
      affine.store %v, %r[0] : memref<1xi32>
    }
  }
  %v = memref.load %r[%zero] : memref<1xi32>
  // expected-error@+1 {{an index may be divided by a power of two only, not by 3; choose such a pe}}
  %c = arith.index_cast %v : i32 to index
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (1) {
      %n = affine.load %x[symbol(%c) floordiv 3] : memref<9xi8>
      affine.store %n, %out[%i] : memref<1xi8>
    }
  }
  return
}

// -----

func.func @unregistered(%image: memref<8xi8>, %class: memref<1xi32>, %out: memref<1xi8>) {
  %zero = arith.constant 0 : index
  %x = memref.alloc() : memref<8xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }
  }
  %v = memref.load %class[%zero] : memref<1xi32>
  // expected-error@+1 {{an index that is no loop must be read from a buffer of one element that a nest writes}}
  %c = arith.index_cast %v : i32 to index
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (1) {
      %n = affine.load %x[symbol(%c)] : memref<8xi8>
      affine.store %n, %out[%i] : memref<1xi8>
    }
  }
  return
}
