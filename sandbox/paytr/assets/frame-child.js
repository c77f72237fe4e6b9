// In the payment page: tells the page around it how high it is, whenever that changes and when it is asked.
(function () {
  'use strict';
  if (window.parent !== window) {
    var tell = function () {
      window.parent.postMessage({ paytrSandboxHeight: document.body.scrollHeight }, '*');
    };
    new ResizeObserver(tell).observe(document.body);
    window.addEventListener('message', function (event) { if (event.data && event.data.paytrSandboxAsk) tell(); });
    tell();
  }
  document.querySelectorAll('form').forEach(function (form) {
    form.addEventListener('submit', function (event) {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = '1';
    });
  });
  window.addEventListener('pageshow', function () {
    document.querySelectorAll('form').forEach(function (form) { delete form.dataset.sent; });
  });
})();
