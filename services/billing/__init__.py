"""What you pay: plans, subscriptions, payments, invoices. The only service that talks to PayTR."""
