"""What the card form says, in Turkish and in English."""

WORDS: dict[str, dict[str, str]] = {
    "tr": {
        "strip": "PayTR sandbox: burası bir deneme ortamıdır, gerçek para çekilmez. Gerçek kart bilgisi girmeyin.",
        "pay_title": "Güvenli ödeme", "order": "Sipariş", "amount": "Ödenecek tutar",
        "card_name": "Kart üzerindeki isim",
        "card_number": "Kart numarası", "expiry": "Son kullanma (AA/YY)", "cvv": "CVV",
        "installments": "Taksit", "single": "Tek çekim", "month": "taksit",
        "pay": "Öde", "card_note": "Kart alanları yalnızca görünüm içindir; tarayıcınızdan hiçbir yere gönderilmez.",
        "controls": "Sandbox kontrolleri", "decline": "Banka reddetsin", "give_up": "Ödemeden vazgeç",
        "controls_note": "Gerçek ödeme sayfasında bulunmaz.", "3d_title": "3-D Secure doğrulama",
        "3d_text": "Bankanızın doğrulama sayfasının yerine geçen deneme sayfası. Şifre gerekmez.",
        "confirm": "Ödemeyi onayla", "merchant": "Mağaza", "card": "Kart",
        "ended_title": "Bu ödeme oturumu sona erdi", "ended_text": "Ödeme tamamlandı, reddedildi ya da süresi doldu.",
        "back": "Mağazaya dön", "unknown_title": "Ödeme oturumu bulunamadı",
        "unknown_text": "Bağlantı eksik veya bu sandbox tarafından verilmemiş. Mağazaya dönüp yeniden deneyin.",
    },
    "en": {
        "strip": "PayTR sandbox: this is a test environment and no money moves. Do not enter a real card.",
        "pay_title": "Secure payment", "order": "Order", "amount": "Amount to pay", "card_name": "Name on card",
        "card_number": "Card number", "expiry": "Expiry (MM/YY)", "cvv": "CVV",
        "installments": "Instalments", "single": "Single payment", "month": "instalments",
        "pay": "Pay", "card_note": "The card fields are for show only; your browser sends them nowhere.",
        "controls": "Sandbox controls", "decline": "Let the bank decline", "give_up": "Give up paying",
        "controls_note": "Not on the real payment page.", "3d_title": "3-D Secure check",
        "3d_text": "A test page in place of your bank's own. No password is needed.",
        "confirm": "Confirm the payment", "merchant": "Store", "card": "Card",
        "ended_title": "This payment session has ended", "ended_text": "It was paid, declined, or its time ran out.",
        "back": "Back to the store", "unknown_title": "No such payment session",
        "unknown_text": "The link is incomplete or not from this sandbox. Go back to the store and try again.",
    },
}  # fmt: skip
