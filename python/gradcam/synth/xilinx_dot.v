// Sum of products of signed numbers as a cascade of DSP slices, which Yosys infers neither for UltraScale+ nor with all
// registers for 7 series. A template for one module of a design; see instances.py.
//
// Slice i takes its factors i cycles late: one cycle in its second A and B registers, the others in front of it. Its sum
// is the product, of register M, plus PCIN, the sum of the slice before it: OPMODE X = Y = M, Z = PCIN (Z = 0 in the
// first one). Attributes and modes that are not named here do not matter or have their usual values; those that are mean
// the same in DSP48E1 and DSP48E2 (UG479 and UG579, "Attributes" and "OPMODE"). A slice multiplies by 18 bits on port B.
module ${name} (
  input clk, input ce, input [$terms*$left-1:0] a, input [$terms*$right-1:0] b0, output [$bits-1:0] sum0
);
  wire [48*$terms-1:0] sums, cascade;
  assign sum0 = sums[48*($terms-1) +: $bits];
  genvar i;
  generate for (i = 0; i < $terms; i = i + 1) begin : term
    wire [$left+$right-1:0] factors;
    if (i < 2)
      assign factors = {a[$left*i +: $left], b0[$right*i +: $right]};
    else begin
      reg [($left+$right)*(i-1)-1:0] late;
      always @(posedge clk) if (ce) late <= {late, a[$left*i +: $left], b0[$right*i +: $right]};
      assign factors = late[($left+$right)*(i-2) +: $left+$right];
    end
    wire signed [17:0] left = $$signed(factors[$right +: $left]);
    wire signed [29:0] right = $$signed(factors[$right-1:0]);
    $slice #(
      .AREG(i ? 2 : 1), .ACASCREG(i ? 2 : 1), .BREG(i ? 2 : 1), .BCASCREG(i ? 2 : 1), .MREG(1), .PREG(1),
      .ADREG(0), .CREG(0), .DREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
    ) slice (
      .CLK(clk), .A(right), .B(left), .P(sums[48*i +: 48]), .PCOUT(cascade[48*i +: 48]),
      .PCIN(i ? cascade[48*(i ? i-1 : 0) +: 48] : 48'b0), .OPMODE(i ? 7'b0010101 : 7'b0000101),
      .C(48'b0), .D({$preadder{1'b0}}), .ACIN(30'b0), .BCIN(18'b0), .ALUMODE(4'b0), .INMODE(5'b0),
      .CARRYIN(1'b0), .CARRYINSEL(3'b0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
      .CEA1(ce), .CEA2(ce), .CEB1(ce), .CEB2(ce), .CEM(ce), .CEP(ce), .CEAD(1'b0), .CEC(1'b0), .CED(1'b0),
      .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(1'b0),
      .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTP(1'b0),
      .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTINMODE(1'b0)
    );
  end endgenerate
endmodule
