// Multiplier of signed numbers with its registers in a DSP slice: A2, B2, M and P, which Yosys alone leaves in the fabric for
// UltraScale+. A template for one module of a design; see instances.py, and xilinx_dot.v for what the slice is told.
module ${name} (
  input clk, input signed [$left-1:0] a, input signed [$right-1:0] b, output [$left+$right-1:0] product
);
  wire signed [29:0] wide_a = a;
  wire signed [17:0] wide_b = b;
  wire [47:0] sum;
  assign product = sum[$left+$right-1:0];
  $slice #(
    .AREG(1), .ACASCREG(1), .BREG(1), .BCASCREG(1), .MREG(1), .PREG(1),
    .ADREG(0), .CREG(0), .DREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
  ) slice (
    .CLK(clk), .A(wide_a), .B(wide_b), .P(sum), .PCIN(48'b0), .OPMODE(7'b0000101),
    .C(48'b0), .D({$preadder{1'b0}}), .ACIN(30'b0), .BCIN(18'b0), .ALUMODE(4'b0), .INMODE(5'b0),
    .CARRYIN(1'b0), .CARRYINSEL(3'b0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
    .CEA1(1'b1), .CEA2(1'b1), .CEB1(1'b1), .CEB2(1'b1), .CEM(1'b1), .CEP(1'b1), .CEAD(1'b0), .CEC(1'b0), .CED(1'b0),
    .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(1'b0),
    .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTP(1'b0),
    .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTINMODE(1'b0)
  );
endmodule
