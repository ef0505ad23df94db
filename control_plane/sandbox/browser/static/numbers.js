/** What can be told of card and bank account numbers by looking at them. */

const BRANDS = [
  { brand: "visa", name: "Visa", starts: /^4/, lengths: [13, 16, 19] },
  { brand: "mastercard", name: "Mastercard", starts: /^(5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720))/, lengths: [16] },
  { brand: "amex", name: "Amex", starts: /^3[47]/, lengths: [15], groups: [4, 6, 5], cvc: 4 },
  { brand: "discover", name: "Discover", starts: /^(6011|64[4-9]|65)/, lengths: [16] },
  { brand: "diners", name: "Diners Club", starts: /^(36|38|39|30[0-5])/, lengths: [14, 16], groups: [4, 6, 4] },
  { brand: "jcb", name: "JCB", starts: /^35(2[89]|[3-8])/, lengths: [16] },
  { brand: "unionpay", name: "UnionPay", starts: /^62/, lengths: [16, 17, 18, 19] },
];
const UNKNOWN = { brand: "unknown", name: "", lengths: [16], groups: [4, 4, 4, 4, 3] };

export const digitsOf = (text) => text.replace(/\D/g, "");

/** The brand that a number begins like; its `cvc` is how many digits its security code has. */
export function brandOf(number) {
  const found = BRANDS.find(({ starts }) => starts.test(number)) ?? UNKNOWN;
  return { groups: UNKNOWN.groups, cvc: 3, ...found };
}

export function passesLuhn(number) {
  let sum = 0;
  [...number].reverse().forEach((digit, at) => {
    const value = Number(digit) * (at % 2 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  });
  return number.length > 0 && sum % 10 === 0;
}

/** "empty", "incomplete", "wrong" or "complete". */
export function stateOfNumber(number) {
  if (number === "") return "empty";
  const { lengths } = brandOf(number);
  if (number.length < Math.min(...lengths)) return "incomplete";
  if (lengths.includes(number.length) && passesLuhn(number)) return "complete";
  // Nearly all numbers have sixteen digits: one of that length that fails is wrong, although longer ones exist.
  return number.length < Math.min(16, ...lengths.slice(-1)) ? "incomplete" : "wrong";
}

export function grouped(number) {
  const { groups, lengths } = brandOf(number);
  const parts = [];
  let rest = number.slice(0, Math.max(...lengths));
  for (const size of groups) {
    if (rest === "") break;
    parts.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  return [...parts, rest].filter(Boolean).join(" ");
}

/** The check digit of a United States routing number. */
export function isRoutingNumber(digits) {
  const weights = [3, 7, 1, 3, 7, 1, 3, 7, 1];
  return /^\d{9}$/.test(digits) && weights.reduce((sum, weight, at) => sum + weight * Number(digits[at]), 0) % 10 === 0;
}

/** ISO 13616: letters count from ten, and the whole leaves one when divided by 97. */
export function isIban(text) {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(text)) return false;
  const turned = text.slice(4) + text.slice(0, 4);
  let rest = 0;
  for (const letter of turned) for (const digit of parseInt(letter, 36).toString()) rest = (rest * 10 + Number(digit)) % 97;
  return rest === 1;
}
