//! The delivery loop: from a broker's deliveries to settled outcomes.
