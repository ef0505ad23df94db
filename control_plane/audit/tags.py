"""What can stand in the activity log: one member for each kind of action, with its sentence in both languages.

The English sentence is the key of the translation. ``{actor}`` and ``{object}`` are filled in by who shows it.
"""

from __future__ import annotations

from enum import StrEnum


class AuditTag(StrEnum):
    """``thing:part:verb``, with an English and a French sentence."""

    english: str
    french: str

    def __new__(cls, tag: str, english: str, french: str) -> AuditTag:
        """A member is its tag."""
        member = str.__new__(cls, tag)
        member._value_ = tag
        member.english = english
        member.french = french
        return member

    @classmethod
    def tagged(cls, text: str) -> AuditTag | None:
        """The tag that is written so; None for one that was retired."""
        return next((tag for tag in cls if tag.value == text), None)

    SESSION_SETTLE = (
        "payment:session:settle",
        "{actor} said how the payment {object} ended.",
        "{actor} a indiqué comment le paiement {object} s’est terminé.",
    )
    CLOSING_SCHEDULE = (
        "reader:closing:schedule",
        "{actor} changed when the readers of {object} close their day.",
        "{actor} a changé l’heure de clôture des lecteurs de {object}.",
    )
    MERCHANT_CREATE = (
        "account:merchant:create",
        "{actor} created the organisation {object}.",
        "{actor} a créé l’organisation {object}.",
    )
    LOCATION_CREATE = (
        "account:location:create",
        "{actor} added the location {object}.",
        "{actor} a ajouté le point de vente {object}.",
    )
    LOCATION_UPDATE = (
        "account:location:update",
        "{actor} changed the location {object}.",
        "{actor} a modifié le point de vente {object}.",
    )
    USER_INVITE = (
        "user:account:invite",
        "{actor} invited {object}.",
        "{actor} a invité {object}.",
    )
    USER_CREATE = (
        "user:account:create",
        "{actor} added the user {object}.",
        "{actor} a ajouté l’utilisateur {object}.",
    )
    USER_ACCEPT = (
        "user:account:accept",
        "{actor} accepted an invitation.",
        "{actor} a accepté une invitation.",
    )
    USER_DISABLE = (
        "user:account:disable",
        "{actor} disabled the user {object}.",
        "{actor} a désactivé l’utilisateur {object}.",
    )
    USER_ENABLE = (
        "user:account:enable",
        "{actor} enabled the user {object} again.",
        "{actor} a réactivé l’utilisateur {object}.",
    )
    USER_ROLE_CHANGE = (
        "user:role:change",
        "{actor} changed what {object} may do.",
        "{actor} a modifié les droits de {object}.",
    )
    USER_PASSWORD_CHANGE = (
        "user:password:change",
        "{actor} changed their password.",
        "{actor} a changé de mot de passe.",
    )
    USER_SIGN_IN = (
        "user:session:start",
        "{actor} signed in.",
        "{actor} s’est connecté(e).",
    )
    USER_SIGN_IN_REFUSED = (
        "user:session:refuse",
        "A sign-in as {object} was refused.",
        "Une connexion au nom de {object} a été refusée.",
    )
    USER_SIGN_OUT = (
        "user:session:end",
        "{actor} signed out.",
        "{actor} s’est déconnecté(e).",
    )
    USER_SESSION_REVOKE = (
        "user:session:revoke",
        "{actor} ended a sign-in of {object}.",
        "{actor} a mis fin à une connexion de {object}.",
    )
    APIKEY_CREATE = (
        "apikey:key:create",
        "{actor} made the API key {object}.",
        "{actor} a créé la clé d’API {object}.",
    )
    APIKEY_REVOKE = (
        "apikey:key:revoke",
        "{actor} revoked the API key {object}.",
        "{actor} a révoqué la clé d’API {object}.",
    )
    JOB_RETRY = (
        "job:parked:retry",
        "{actor} ran the parked job {object} again.",
        "{actor} a relancé la tâche en attente {object}.",
    )
    JOB_DISCARD = (
        "job:parked:discard",
        "{actor} discarded the parked job {object}.",
        "{actor} a abandonné la tâche en attente {object}.",
    )
    SESSION_CREATE = (
        "payment:session:create",
        "{actor} started the payment {object}.",
        "{actor} a lancé le paiement {object}.",
    )
    SESSION_CANCEL = (
        "payment:session:cancel",
        "{actor} asked to cancel the payment {object}.",
        "{actor} a demandé l’annulation du paiement {object}.",
    )
    DEVICE_CODE_CREATE = (
        "device:code:create",
        "{actor} made an enrolment code for {object}.",
        "{actor} a créé un code d’enrôlement pour {object}.",
    )
    DEVICE_CODE_REVOKE = (
        "device:code:revoke",
        "{actor} withdrew an enrolment code for {object}.",
        "{actor} a retiré un code d’enrôlement pour {object}.",
    )
    DEVICE_ENROLL = (
        "device:identity:enroll",
        "The device {object} enrolled.",
        "L’appareil {object} s’est enrôlé.",
    )
    DEVICE_RENEW = (
        "device:certificate:renew",
        "The device {object} renewed its certificate.",
        "L’appareil {object} a renouvelé son certificat.",
    )
    DEVICE_ADOPT = (
        "device:identity:adopt",
        "{actor} adopted the device {object}.",
        "{actor} a adopté l’appareil {object}.",
    )
    DEVICE_UPDATE = (
        "device:details:update",
        "{actor} changed the device {object}.",
        "{actor} a modifié l’appareil {object}.",
    )
    DEVICE_SUSPEND = (
        "device:identity:suspend",
        "{actor} suspended the device {object}.",
        "{actor} a suspendu l’appareil {object}.",
    )
    DEVICE_RESUME = (
        "device:identity:resume",
        "{actor} let the device {object} work again.",
        "{actor} a remis l’appareil {object} en service.",
    )
    DEVICE_REVOKE = (
        "device:identity:revoke",
        "{actor} revoked the device {object}.",
        "{actor} a révoqué l’appareil {object}.",
    )
    DEVICE_RETIRE = (
        "device:identity:retire",
        "{actor} retired the device {object}.",
        "{actor} a retiré l’appareil {object} du service.",
    )
    DEVICE_REPLACE = (
        "device:identity:replace",
        "{actor} replaced the device {object}.",
        "{actor} a remplacé l’appareil {object}.",
    )
    FIRMWARE_RELEASE_ADD = (
        "firmware:release:add",
        "{actor} added the reader software {object}.",
        "{actor} a ajouté le logiciel de lecteur {object}.",
    )
    FIRMWARE_RELEASE_WITHDRAW = (
        "firmware:release:withdraw",
        "{actor} withdrew the reader software {object}.",
        "{actor} a retiré le logiciel de lecteur {object}.",
    )
    FIRMWARE_UPDATE_ORDER = (
        "firmware:update:order",
        "{actor} ordered new software for the reader {object}.",
        "{actor} a commandé un nouveau logiciel pour le lecteur {object}.",
    )
    DEVICE_COMMAND = (
        "device:command:send",
        "{actor} sent a command to the device {object}.",
        "{actor} a envoyé une commande à l’appareil {object}.",
    )
    DEVICE_CONFIG_PUSH = (
        "device:config:push",
        "{actor} sent a configuration to the device {object}.",
        "{actor} a envoyé une configuration à l’appareil {object}.",
    )
    CONFIG_LAYER_CHANGE = (
        "config:layer:change",
        "{actor} changed the configuration of {object}.",
        "{actor} a modifié la configuration de {object}.",
    )
    CONFIG_PUSH = (
        "config:push:send",
        "{actor} sent the configuration at revision {object} to devices.",
        "{actor} a envoyé la configuration de la révision {object} à des appareils.",
    )
    DEVICE_REPORT = (
        "device:report:record",
        "The device {object} reported something to remember.",
        "L’appareil {object} a signalé un fait à retenir.",
    )
    READER_UPDATE = (
        "reader:details:update",
        "{actor} changed the reader {object}.",
        "{actor} a modifié le lecteur {object}.",
    )
    READER_CONFIGURE = (
        "reader:settings:change",
        "{actor} changed the settings of the reader {object}.",
        "{actor} a modifié les réglages du lecteur {object}.",
    )
    TRANSACTION_EXPORT = (
        "transaction:list:export",
        "{actor} exported transactions.",
        "{actor} a exporté des transactions.",
    )
    CUSTOMER_CREATE = (
        "customer:details:create",
        "{actor} added the customer {object}.",
        "{actor} a ajouté le client {object}.",
    )
    CUSTOMER_UPDATE = (
        "customer:details:update",
        "{actor} changed the customer {object}.",
        "{actor} a modifié le client {object}.",
    )
    CUSTOMER_ARCHIVE = (
        "customer:details:archive",
        "{actor} archived the customer {object}.",
        "{actor} a archivé le client {object}.",
    )
    CUSTOMER_RESTORE = (
        "customer:details:restore",
        "{actor} brought the customer {object} back.",
        "{actor} a rétabli le client {object}.",
    )
    METHOD_SAVE = (
        "customer:method:save",
        "{actor} saved {object} with the customer’s consent.",
        "{actor} a enregistré {object} avec l’accord du client.",
    )
    METHOD_REMOVE = (
        "customer:method:remove",
        "{actor} removed the saved {object}.",
        "{actor} a supprimé le moyen de paiement {object}.",
    )
    METHOD_DEFAULT = (
        "customer:method:prefer",
        "{actor} made {object} the customer’s usual method.",
        "{actor} a choisi {object} comme moyen de paiement habituel.",
    )
    RECEIPT_SEND = (
        "receipt:mail:send",
        "{actor} sent the receipt of {object}.",
        "{actor} a envoyé le reçu de {object}.",
    )
    RECEIPT_TEMPLATE_UPDATE = (
        "receipt:template:update",
        "{actor} changed how receipts look.",
        "{actor} a modifié la présentation des reçus.",
    )
    PROCESSOR_CONNECT = (
        "processor:account:connect",
        "{actor} connected the Stripe account {object}.",
        "{actor} a connecté le compte Stripe {object}.",
    )
    PROCESSOR_DISCONNECT = (
        "processor:account:disconnect",
        "{actor} disconnected the Stripe account {object}.",
        "{actor} a déconnecté le compte Stripe {object}.",
    )
    PROCESSOR_PROBE = (
        "processor:moto:probe",
        "{actor} asked whether {object} may take cards by telephone.",
        "{actor} a demandé si {object} peut prendre des cartes par téléphone.",
    )
    CARD_PRESENT_CONNECT = (
        "processor:card_present:connect",
        "{actor} connected the account {object} for encrypting readers.",
        "{actor} a connecté le compte {object} pour les lecteurs chiffrants.",
    )
    CARD_PRESENT_DISCONNECT = (
        "processor:card_present:disconnect",
        "{actor} disconnected the account {object} for encrypting readers.",
        "{actor} a déconnecté le compte {object} pour les lecteurs chiffrants.",
    )
    CARD_PRESENT_REFUND = (
        "payment:card_present:refund",
        "{actor} gave money back of the sale {object} on an encrypting reader.",
        "{actor} a remboursé la vente {object} faite sur un lecteur chiffrant.",
    )
    WEBHOOK_SECRET_ROTATE = (
        "processor:webhook:rotate",
        "{actor} changed the webhook secret of {object}.",
        "{actor} a changé le secret du webhook de {object}.",
    )
    WEBHOOK_REPLAY = (
        "processor:webhook:replay",
        "{actor} worked on webhooks of {object} again.",
        "{actor} a retraité des webhooks de {object}.",
    )
    HISTORY_IMPORT = (
        "processor:history:import",
        "{actor} imported the history of {object}.",
        "{actor} a importé l’historique de {object}.",
    )
    CLOUD_READER_REGISTER = (
        "reader:cloud:register",
        "{actor} registered the Stripe reader {object}.",
        "{actor} a enregistré le lecteur Stripe {object}.",
    )
    CLOUD_READER_RENAME = (
        "reader:cloud:rename",
        "{actor} renamed the Stripe reader {object}.",
        "{actor} a renommé le lecteur Stripe {object}.",
    )
    CLOUD_READER_REMOVE = (
        "reader:cloud:remove",
        "{actor} removed the Stripe reader {object}.",
        "{actor} a retiré le lecteur Stripe {object}.",
    )
    PHONE_INVITE = (
        "reader:phone:invite",
        "{actor} made a code to pair the phone {object}.",
        "{actor} a créé un code pour associer le téléphone {object}.",
    )
    PHONE_PAIR = (
        "reader:phone:pair",
        "{actor} paired the phone {object}.",
        "{actor} a associé le téléphone {object}.",
    )
    PHONE_REVOKE = (
        "reader:phone:revoke",
        "{actor} revoked the phone {object}.",
        "{actor} a révoqué le téléphone {object}.",
    )
    CONNECTION_TOKEN_CREATE = (
        "reader:token:create",
        "{actor} got a connection token for readers of {object}.",
        "{actor} a obtenu un jeton de connexion pour les lecteurs de {object}.",
    )
    TERMS_LINK_CREATE = (
        "reader:terms:link",
        "{actor} opened Apple’s terms for Tap to Pay of {object}.",
        "{actor} a ouvert les conditions d’Apple pour Tap to Pay de {object}.",
    )
    TILL_SETTINGS_UPDATE = (
        "till:settings:update",
        "{actor} changed how the till works.",
        "{actor} a modifié le fonctionnement de la caisse.",
    )
    TILL_ORDER_UPDATE = (
        "till:order:update",
        "{actor} changed the order of {object}.",
        "{actor} a modifié l’ordre de {object}.",
    )
    TAX_CREATE = (
        "till:tax:create",
        "{actor} added the tax {object}.",
        "{actor} a ajouté la taxe {object}.",
    )
    TAX_UPDATE = (
        "till:tax:update",
        "{actor} changed the tax {object}.",
        "{actor} a modifié la taxe {object}.",
    )
    TAX_REMOVE = (
        "till:tax:remove",
        "{actor} removed the tax {object}.",
        "{actor} a supprimé la taxe {object}.",
    )
    TILL_FIELD_CREATE = (
        "till:field:create",
        "{actor} added the field {object}.",
        "{actor} a ajouté le champ {object}.",
    )
    TILL_FIELD_UPDATE = (
        "till:field:update",
        "{actor} changed the field {object}.",
        "{actor} a modifié le champ {object}.",
    )
    TILL_FIELD_REMOVE = (
        "till:field:remove",
        "{actor} removed the field {object}.",
        "{actor} a supprimé le champ {object}.",
    )
    TILL_ITEM_CREATE = (
        "till:item:create",
        "{actor} added the item {object}.",
        "{actor} a ajouté l’article {object}.",
    )
    TILL_ITEM_UPDATE = (
        "till:item:update",
        "{actor} changed the item {object}.",
        "{actor} a modifié l’article {object}.",
    )
    TILL_ITEM_REMOVE = (
        "till:item:remove",
        "{actor} removed the item {object}.",
        "{actor} a supprimé l’article {object}.",
    )
    TILL_ITEMS_IMPORT = (
        "till:item:import",
        "{actor} imported items from {object}.",
        "{actor} a importé des articles depuis {object}.",
    )
    TILL_PRESET_CREATE = (
        "till:preset:create",
        "{actor} added the preset {object}.",
        "{actor} a ajouté le montant prédéfini {object}.",
    )
    TILL_PRESET_UPDATE = (
        "till:preset:update",
        "{actor} changed the preset {object}.",
        "{actor} a modifié le montant prédéfini {object}.",
    )
    TILL_PRESET_REMOVE = (
        "till:preset:remove",
        "{actor} removed the preset {object}.",
        "{actor} a supprimé le montant prédéfini {object}.",
    )
    MEMBER_LIMITS_UPDATE = (
        "user:limits:change",
        "{actor} changed the limits of {object}.",
        "{actor} a modifié les plafonds de {object}.",
    )
    PAYMENT_CHARGE = (
        "payment:charge:create",
        "{actor} charged {object}.",
        "{actor} a débité {object}.",
    )
    PAYMENT_CHECKS_ACCEPT = (
        "payment:checks:accept",
        "{actor} accepted the failed check of {object}.",
        "{actor} a accepté le contrôle échoué de {object}.",
    )
    PAYMENT_CAPTURE = (
        "payment:charge:capture",
        "{actor} captured the held {object}.",
        "{actor} a capturé le montant réservé {object}.",
    )
    PAYMENT_INCREMENT = (
        "payment:charge:increment",
        "{actor} raised the held amount to {object}.",
        "{actor} a porté le montant réservé à {object}.",
    )
    PAYMENT_CANCEL = (
        "payment:charge:cancel",
        "{actor} canceled the payment of {object}.",
        "{actor} a annulé le paiement de {object}.",
    )
    PAYMENT_MICRODEPOSITS = (
        "payment:debit:verify",
        "{actor} checked the small deposits of {object}.",
        "{actor} a vérifié les micro-dépôts de {object}.",
    )
    REFUND_CREATE = (
        "payment:refund:create",
        "{actor} refunded {object}.",
        "{actor} a remboursé {object}.",
    )
    REFUND_ASK = (
        "payment:refund:ask",
        "{actor} asked to refund {object}.",
        "{actor} a demandé à rembourser {object}.",
    )
    REFUND_APPROVE = (
        "payment:refund:approve",
        "{actor} approved the refund of {object}.",
        "{actor} a approuvé le remboursement de {object}.",
    )
    REFUND_REJECT = (
        "payment:refund:reject",
        "{actor} rejected the refund of {object}.",
        "{actor} a rejeté le remboursement de {object}.",
    )
    ALERT_ACKNOWLEDGE = (
        "device:alert:acknowledge",
        "{actor} acknowledged the alert {object}.",
        "{actor} a pris en charge l’alerte {object}.",
    )
