"""A stand-in of PayTR: the merchant's API, the buyer's card form, and the notification to the merchant."""
