/** Texts of the fields, English and French. */

const EN = {
  title: "Secure payment input",
  method: "Payment method",
  card: "Card", us_bank_account: "US bank account", sepa_debit: "SEPA Direct Debit",
  saved: "Saved payment methods", another: "Use another one", ending: "{brand} ending in {last4}",
  number: "Card number", expiry: "Expiry date", cvc: "Security code", name: "Full name", email: "E-mail",
  phone: "Phone", country: "Country", postal_code: "Postal code", us_postal_code: "ZIP code", line1: "Address",
  expiry_form: "MM / YY", cvc_form: "CVC",
  routing: "Routing number", account: "Account number", account_type: "Account type", holder_type: "Account holder",
  checking: "Checking", savings: "Savings", individual: "Person", company: "Company", iban: "IBAN",
  save: "Save for later payments",
  incomplete_number: "Your card number is incomplete.",
  invalid_number: "Your card number is not right. Compare it with the card.",
  incomplete_expiry: "Your card’s expiry date is incomplete.",
  invalid_expiry: "Your card’s expiry date is not right. Enter month and year, as on the card.",
  invalid_expiry_year_past: "Your card’s expiry date is in the past. Use another card.",
  incomplete_cvc: "Your card’s security code is incomplete.",
  incomplete_name: "Enter the full name.",
  incomplete_email: "Enter an e-mail address, like sam@example.com.",
  incomplete_phone: "Enter the phone number.",
  incomplete_zip: "Your postal code is incomplete.",
  incomplete_line1: "Enter the street and house number.",
  incomplete_routing: "A routing number has nine digits; compare it with the cheque.",
  incomplete_account: "An account number has 4 to 17 digits.",
  incomplete_iban: "Your IBAN is incomplete.",
  invalid_iban: "Your IBAN is not right. Compare it with your statement.",
  mandate_us: "By continuing, you authorise {shop} to debit this account for the amount, under the terms of the debit network.",
  mandate_sepa:
    "By giving your IBAN, you authorise {shop} and its payment provider to send your bank instructions to debit your account, and your " +
    "bank to debit it. You can have a debit refunded by your bank within eight weeks.",
  the_shop: "the shop",
  practice: "Practice mode: no money moves. Try {example}.",
  offline: "The payment provider cannot be reached. Check the connection, then try again.",
};

const FR = {
  title: "Saisie sécurisée du paiement",
  method: "Moyen de paiement",
  card: "Carte", us_bank_account: "Compte bancaire américain", sepa_debit: "Prélèvement SEPA",
  saved: "Moyens de paiement enregistrés", another: "En utiliser un autre", ending: "{brand} se terminant par {last4}",
  number: "Numéro de carte", expiry: "Date d’expiration", cvc: "Code de sécurité", name: "Nom complet", email: "E-mail",
  phone: "Téléphone", country: "Pays", postal_code: "Code postal", us_postal_code: "Code ZIP", line1: "Adresse",
  expiry_form: "MM / AA", cvc_form: "CVC",
  routing: "Numéro de routage", account: "Numéro de compte", account_type: "Type de compte", holder_type: "Titulaire",
  checking: "Courant", savings: "Épargne", individual: "Particulier", company: "Entreprise", iban: "IBAN",
  save: "Enregistrer pour de prochains paiements",
  incomplete_number: "Le numéro de carte est incomplet.",
  invalid_number: "Le numéro de carte est inexact. Comparez-le avec la carte.",
  incomplete_expiry: "La date d’expiration est incomplète.",
  invalid_expiry: "La date d’expiration est inexacte. Saisissez le mois et l’année de la carte.",
  invalid_expiry_year_past: "La carte a expiré. Utilisez une autre carte.",
  incomplete_cvc: "Le code de sécurité est incomplet.",
  incomplete_name: "Saisissez le nom complet.",
  incomplete_email: "Saisissez une adresse e-mail, comme sam@example.com.",
  incomplete_phone: "Saisissez le numéro de téléphone.",
  incomplete_zip: "Le code postal est incomplet.",
  incomplete_line1: "Saisissez la rue et le numéro.",
  incomplete_routing: "Un numéro de routage a neuf chiffres ; comparez-le avec le chèque.",
  incomplete_account: "Un numéro de compte a 4 à 17 chiffres.",
  incomplete_iban: "L’IBAN est incomplet.",
  invalid_iban: "L’IBAN est inexact. Comparez-le avec votre relevé.",
  mandate_us: "En continuant, vous autorisez {shop} à débiter ce compte du montant, selon les règles du réseau de prélèvement.",
  mandate_sepa:
    "En donnant votre IBAN, vous autorisez {shop} et son prestataire de paiement à envoyer à votre banque des instructions pour débiter " +
    "votre compte, et votre banque à le débiter. Vous pouvez être remboursé par votre banque dans les huit semaines.",
  the_shop: "le commerçant",
  practice: "Mode entraînement : aucun argent ne bouge. Essayez {example}.",
  offline: "Le prestataire de paiement est injoignable. Vérifiez la connexion, puis réessayez.",
};

export const wordsOf = (locale) => (locale === "fr" ? FR : EN);

export const filled = (sentence, facts) => sentence.replace(/\{(\w+)\}/g, (whole, name) => facts[name] ?? whole);
